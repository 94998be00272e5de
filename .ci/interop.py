"""Runs the built binary and uses it with clients and tools that are not ours: mosquitto_pub and
mosquitto_sub, paho-mqtt, MQTT.js, promtool, openapi-spec-validator, schemathesis, the shell and Python
examples. Ends with a count of what passed.

    interop.py BINARY FOLDER_OF_PYTHON_TOOLS FOLDER_OF_NODE_MODULES"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

BINARY = pathlib.Path(sys.argv[1]).resolve()
TOOLS = pathlib.Path(sys.argv[2])
NODE_MODULES = pathlib.Path(sys.argv[3])
ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 20


class Brooklet:
    """The binary on free ports, in a folder of its own; `settings` makes further variables of it."""

    def __init__(self, settings=lambda _folder: {}):
        self.settings = settings

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BROOKLET__")}
        environment |= {
            "BROOKLET__MQTT__LISTEN": '["127.0.0.1:0"]',
            "BROOKLET__HTTP__LISTEN": '["127.0.0.1:0"]',
            "BROOKLET__LOG__FORMAT": "json",
            "BROOKLET__LOG__HTTP_ACCESS": "false",
        } | self.settings(pathlib.Path(self.folder))
        self.process = subprocess.Popen(
            [BINARY], cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.log, self.ports, line = [], {}, {}
        while line.get("message") != "Brooklet is ready":
            line = json.loads(self.process.stderr.readline())
            self.log.append(line)
            if line.get("message") == "listening":
                name = line.get("transport", line["protocol"])
                self.ports[name] = int(line["address"].rsplit(":", 1)[1])
        self.mqtt, self.http = self.ports["tcp"], f"http://127.0.0.1:{self.ports['http']}"
        threading.Thread(target=self.read_log, daemon=True).start()
        return self

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"message": line})

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)
        errors = [line for line in self.log if line.get("level") == "ERROR" or "panicked" in str(line)]
        assert code == 0, f"exit code {code}"
        assert not errors, errors

    def get(self, path):
        with urllib.request.urlopen(self.http + path, timeout=PATIENCE) as response:
            return json.load(response)


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=600, **options
    ).stdout


def mosquitto_clients(brooklet):
    for version in ("mqttv311", "mqttv5"):
        topic = f"devices/{version}/data"
        watcher = subprocess.Popen(
            ["mosquitto_sub", "-p", str(brooklet.mqtt), "-V", version, "-q", "2", "-C", "3",
             "-W", str(PATIENCE), "-t", f"devices/{version}/#", "-t", "ready", "-v"],
            stdout=subprocess.PIPE, text=True,
        )
        ready = subprocess.Popen(["mosquitto_sub", "-p", str(brooklet.mqtt), "-C", "1", "-t", "pong"],
                                 stdout=subprocess.DEVNULL)
        # The watcher is subscribed once presence and data reach it; publish until it has heard.
        for value in range(200):
            run("mosquitto_pub", "-p", brooklet.mqtt, "-V", version, "-q", "2", "-t", topic,
                "-m", json.dumps({"value": value}))
            if watcher.poll() is not None:
                break
        ready.kill()
        heard = watcher.communicate(timeout=PATIENCE)[0].splitlines()
        assert len(heard) == 3 and any(line.startswith(topic) for line in heard), heard
        latest = brooklet.get(f"/api/data/latest?device_id={version}")["items"]
        assert latest[0]["value"] == value, latest


def paho(brooklet):
    for name, protocol in (("paho3", mqtt.MQTTv311), ("paho5", mqtt.MQTTv5)):
        received, subscribed, codes = [], threading.Event(), {}
        done = threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_publish = lambda _c, _u, mid, reason, _p: codes.__setitem__(mid, reason.value)

        def on_message(_client, _data, message):
            received.append((message.qos, message.payload.decode()))
            if len(received) == 3:
                done.set()

        client.on_message = on_message
        client.connect("127.0.0.1", brooklet.mqtt)
        client.loop_start()
        client.subscribe(f"devices/{name}/data", qos=2)
        assert subscribed.wait(PATIENCE)
        for qos in (0, 1, 2):
            client.publish(f"devices/{name}/data", json.dumps({"qos": qos}), qos).wait_for_publish(PATIENCE)
        assert done.wait(PATIENCE), received
        assert sorted(received) == [(qos, json.dumps({"qos": qos})) for qos in (0, 1, 2)], received
        refused = client.publish(f"devices/{name}/data", "not json", 1)
        refused.wait_for_publish(PATIENCE)
        if protocol == mqtt.MQTTv5:
            assert codes[refused.mid] == 0x83, codes
        client.disconnect()
        client.loop_stop()
        history = brooklet.get(f"/api/data/history?device_id={name}")["items"]
        assert len(history) == 3, history


def paho_session_and_properties(brooklet):
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 300
    present, heard = [], threading.Event()
    messages = []

    def connect(on_ready):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="keeper", protocol=mqtt.MQTTv5)

        def on_connect(c, _data, flags, _reason, _properties):
            present.append(flags.session_present)
            on_ready(c)

        def on_message(_client, _data, message):
            messages.append(message)
            heard.set()

        client.on_connect, client.on_message = on_connect, on_message
        client.connect("127.0.0.1", brooklet.mqtt, clean_start=False, properties=properties)
        client.loop_start()
        return client

    subscribed = threading.Event()
    client = connect(lambda c: c.subscribe("keep/#", qos=1))
    client.on_subscribe = lambda *_: subscribed.set()
    assert subscribed.wait(PATIENCE)
    client.disconnect()
    client.loop_stop()
    run("mosquitto_pub", "-p", brooklet.mqtt, "-V", "mqttv5", "-q", "1", "-t", "keep/it", "-m", "waited",
        "-D", "publish", "user-property", "a", "1", "-D", "publish", "user-property", "b", "2",
        "-D", "publish", "content-type", "text/plain", "-D", "publish", "message-expiry-interval", "60")
    client = connect(lambda _c: None)
    assert heard.wait(PATIENCE)
    client.disconnect()
    client.loop_stop()
    assert present == [False, True], present
    got = messages[0].properties
    assert got.UserProperty == [("a", "1"), ("b", "2")] and got.ContentType == "text/plain", got
    assert 0 < got.MessageExpiryInterval <= 60, got


def encrypted(folder):
    """Every transport, one user, nobody anonymous."""
    certificate, key = folder / "server.pem", folder / "server.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", key, "-out", certificate)
    files = f'certificate = "{certificate}", key = "{key}"'
    listeners = [f'{{ address = "127.0.0.1:0", transport = "{transport}"{more} }}'
                 for transport, more in (("tls", ", " + files), ("ws", ""), ("wss", ", " + files))]
    password = run(BINARY, "hash-password", input="secret\n").strip()
    return {
        "BROOKLET__MQTT__LISTENERS": f"[{', '.join(listeners)}]",
        "BROOKLET__MQTT__ALLOW_ANONYMOUS": "false",
        "BROOKLET__ACCESS__USERS": f'[{{ name = "ann", password = "{password}" }}]',
    }


def transports(_brooklet):
    with Brooklet(encrypted) as brooklet:
        authority = f"{brooklet.folder}/server.pem"
        mosquitto_over_tls(brooklet, authority)
        for name in ("ws", "wss"):
            paho_over_web_socket(brooklet, name, authority)
            run("node", ROOT / ".ci/mqttjs.cjs", f"{name}://localhost:{brooklet.ports[name]}/mqtt",
                authority, "ann", "secret", env=os.environ | {"NODE_PATH": str(NODE_MODULES)})


def mosquitto_over_tls(brooklet, authority):
    for version, device in (("mqttv311", "tls3"), ("mqttv5", "tls5")):
        common = ["-h", "localhost", "-p", str(brooklet.ports["tls"]), "--cafile", authority, "-V", version]
        login = ["-u", "ann", "-P", "secret"]
        topic = f"devices/{device}/data"
        publish = ["-t", topic, "-q", "1", "-m", '{"value": 1}']
        run("mosquitto_pub", *common, *login, *publish, "-r")
        heard = run("mosquitto_sub", *common, *login, "-t", topic, "-C", "1", "-W", str(PATIENCE))
        assert heard == '{"value": 1}\n', heard
        for wrong in (["-u", "ann", "-P", "guessed"], []):
            refused = subprocess.run(["mosquitto_pub", *common, *wrong, *publish],
                                     capture_output=True, timeout=PATIENCE)
            assert refused.returncode != 0, refused


def paho_over_web_socket(brooklet, name, authority):
    for device, protocol in (("3", mqtt.MQTTv311), ("5", mqtt.MQTTv5)):
        received, ready, done = [], threading.Event(), threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"paho-{name}{device}",
                             protocol=protocol, transport="websockets")
        client.ws_set_options(path="/mqtt")
        client.username_pw_set("ann", "secret")
        if name == "wss":
            client.tls_set(ca_certs=authority)
        client.on_subscribe = lambda *_: ready.set()

        def on_message(_client, _data, message):
            received.append((message.qos, len(message.payload)))
            if len(received) == 3:
                done.set()

        client.on_message = on_message
        client.connect("localhost", brooklet.ports[name])
        client.loop_start()
        client.subscribe("paho/ws", qos=2)
        assert ready.wait(PATIENCE), (name, device)
        for qos, size in ((0, 1), (1, 1000), (2, 200_000)):
            client.publish("paho/ws", bytes(size), qos).wait_for_publish(PATIENCE)
        assert done.wait(PATIENCE), received
        assert sorted(received) == [(0, 1), (1, 1000), (2, 200_000)], received
        client.disconnect()
        client.loop_stop()


def examples(brooklet):
    environment = os.environ | {"MQTT_PORT": str(brooklet.mqtt), "HTTP": brooklet.http}
    told = run("sh", ROOT / "examples/devices.sh", env=environment)
    assert '"ok":true' in told, told
    shown = run(sys.executable, ROOT / "examples/read_api.py", brooklet.http)
    for device in ("test-device-uuid", "device001", "tank", "1234567890ABCDEF", "test-device-http"):
        assert device in shown, shown
    gateway = brooklet.get("/api/devices/1")
    assert gateway["kind"] == "gateway", gateway


def prometheus(brooklet):
    with urllib.request.urlopen(brooklet.http + "/metrics", timeout=PATIENCE) as response:
        text = response.read().decode()
    run("promtool", "check", "metrics", input=text)


def openapi_document(_brooklet):
    run(TOOLS / "openapi-spec-validator", ROOT / "openapi/openapi.json")


def schemathesis(brooklet):
    run("mosquitto_pub", "-p", brooklet.mqtt, "-q", "1", "-t", "devices/d/data", "-m", '{"t": 1}')
    try:
        run(TOOLS / "schemathesis", "run", brooklet.http + "/openapi.json", "--max-examples", "25",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
                        "response_schema_conformance", "--seed", "1", "--no-color",
            cwd=brooklet.folder)
    except subprocess.CalledProcessError as error:
        print(error.stdout[-6000:])
        raise


CHECKS = [mosquitto_clients, paho, paho_session_and_properties, transports, examples, prometheus,
          openapi_document, schemathesis]


def main():
    failed = 0
    for check in CHECKS:
        try:
            with Brooklet() as brooklet:
                check(brooklet)
            print(f"{check.__name__}: ok", flush=True)
        except Exception as error:  # one failed check must not hide the others
            failed += 1
            detail = getattr(error, "stderr", "") or ""
            print(f"{check.__name__}: FAILED: {error!r} {detail[-2000:]}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
