"""Live streams with clients that are not ours: `websockets`, and `sseclient-py` over `requests`."""

import json
import subprocess
import sys
import threading

import requests
import sseclient
import websockets.exceptions
import websockets.sync.client

from brooklet import PATIENCE, ROOT, Brooklet, eventually, run

KEY = "a-key-that-nobody-guesses"
RULE = """[{ name = "hot", scope = { sensors = ["t"] }, levels = [
    { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } } ] }]"""


def publish(brooklet, *values):
    for value in values:
        run("mosquitto_pub", "-p", brooklet.mqtt, "-q", "1", "-t", "devices/esp/data",
            "-m", json.dumps({"t": value}))


class Events:
    """Server-Sent Events, read beside the check."""

    def __init__(self, brooklet, query, last=None, **more):
        headers = {"Last-Event-ID": last} if last else {}
        self.response = requests.get(f"{brooklet.http}/api/stream{query}", stream=True, timeout=PATIENCE,
                                     headers=headers | more)
        self.response.raise_for_status()
        assert self.response.headers["content-type"] == "text/event-stream", self.response.headers
        self.seen = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for event in sseclient.SSEClient(self.response).events():
                if event.data:
                    self.seen.append(event)
        except (requests.RequestException, AttributeError, ValueError):
            pass  # closed by the check

    def wait(self, count):
        eventually(lambda: len(self.seen) >= count, self.seen)
        return [(event.event, json.loads(event.data)) for event in self.seen]


def readings(told):
    return [data["data"]["value"] for name, data in told if name == "sensor_data"]


def web_socket(brooklet, path, **headers):
    url = brooklet.http.replace("http:", "ws:") + path
    return websockets.sync.client.connect(url, additional_headers=headers)


def refused(brooklet, path):
    try:
        web_socket(brooklet, path).close()
    except websockets.exceptions.InvalidStatus as error:
        return error.response.status_code
    return None


def example(brooklet):
    command = [sys.executable, "-u", ROOT / "examples/live.py", brooklet.http, "devices=esp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown:
        eventually(lambda: 'brooklet_stream_clients{transport="sse"} 1' in metrics(brooklet), "it listens")
        publish(brooklet, 25.5)
        line = shown.stdout.readline()
        while "online" in line:
            line = shown.stdout.readline()
        assert "esp/t = 25.5" in line, line
        shown.kill()


def metrics(brooklet):
    return requests.get(brooklet.http + "/metrics", timeout=PATIENCE).text


def server_sent_events(brooklet):
    events = Events(brooklet, "?devices=esp&events=readings")
    publish(brooklet, 1, 2)
    told = events.wait(2)
    assert readings(told) == [1, 2], told
    first = events.seen[0]
    assert first.id == told[0][1]["id"], first
    assert told[1][1]["data"] == brooklet.get("/api/data/latest?device_id=esp")["items"][0], told
    events.response.close()
    publish(brooklet, 3)
    again = Events(brooklet, "?devices=esp&events=readings", last=first.id)
    publish(brooklet, 4)
    assert readings(again.wait(3)) == [2, 3, 4], again.seen
    again.response.close()


def web_sockets(brooklet):
    publish(brooklet, 0)
    sensor = brooklet.get("/api/data/latest?device_id=esp")["items"][0]["sensor_id"]
    with web_socket(brooklet, f"/ws/sensors/{sensor}?events=readings") as one, web_socket(brooklet, "/ws") as all:
        all.send(json.dumps({"subscribe": {"devices": ["esp"], "events": ["readings"]}}))
        told = json.loads(all.recv(PATIENCE))
        assert told["type"] == "subscribed" and told["devices"] == ["esp"], told
        publish(brooklet, 1.5)
        reading = json.loads(one.recv(PATIENCE))
        assert (reading["type"], reading["sensor_id"], reading["data"]["value"]) == ("sensor_data", sensor, 1.5)
        assert json.loads(all.recv(PATIENCE)) == reading
        assert one.ping().wait(PATIENCE), "no pong"
    publish(brooklet, 2.5)
    with web_socket(brooklet, f"/ws?events=readings&last_event_id={reading['id']}") as back:
        assert json.loads(back.recv(PATIENCE))["data"]["value"] == 2.5
    assert refused(brooklet, "/ws/sensors/4711") == 404


def alarms_and_tickets(_brooklet):
    def settings(_folder):
        return {
            "BROOKLET__ALARMS__RULES": RULE, "BROOKLET__HTTP__ALLOW_ANONYMOUS": "false",
            "BROOKLET__HTTP__API_KEYS": f'[{{ name = "panel", key = "{KEY}" }}]',
        }

    with Brooklet(settings) as brooklet:
        assert refused(brooklet, "/ws/alarms") == 401
        answer = requests.post(f"{brooklet.http}/api/stream/ticket", headers={"X-API-Key": KEY}, timeout=PATIENCE)
        ticket = answer.json()["ticket"]
        events = Events(brooklet, "?events=alarms", **{"X-API-Key": KEY})
        with web_socket(brooklet, f"/ws/alarms?ticket={ticket}") as alarms:
            publish(brooklet, 31)
            raised = json.loads(alarms.recv(PATIENCE))
            alarm = raised["alarm"]["id"]
            requests.post(f"{brooklet.http}/api/alarms/{alarm}/ack", headers={"X-API-Key": KEY},
                          timeout=PATIENCE).raise_for_status()
            publish(brooklet, 20)
            told = [raised] + [json.loads(alarms.recv(PATIENCE)) for _ in range(2)]
        assert [event["event"]["kind"] for event in told] == ["raised", "acknowledged", "cleared"], told
        assert [data for _, data in events.wait(3)] == told, events.seen
        assert refused(brooklet, f"/ws/alarms?ticket={ticket}") == 401
        events.response.close()
