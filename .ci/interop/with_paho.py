"""paho-mqtt, over TCP and WebSocket."""

import json
import queue
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from brooklet import PASSWORD, PATIENCE, USER, by_qos, eventually

VERSIONS = (("3", mqtt.MQTTv311), ("5", mqtt.MQTTv5))


def properties(packet, **values):
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client:
    """A connected client that collects what comes. `kept`: with a session that outlives it."""

    def __init__(self, port, name, protocol=mqtt.MQTTv5, kept=False, will=None, transport="tcp",
                 authority=None, password=PASSWORD, manual_ack=False, **connect):
        self.messages, self.codes, self.present, self.failed = queue.Queue(), {}, [], []
        self.subscribed = threading.Event()
        is_5 = protocol == mqtt.MQTTv5
        session = {} if is_5 else {"clean_session": not kept}
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol,
                                transport=transport, manual_ack=manual_ack, **session)
        self.paho.username_pw_set(USER, password)
        if transport == "websockets":
            self.paho.ws_set_options(path="/mqtt")
        if authority:
            self.paho.tls_set(ca_certs=authority)
        if will:
            self.paho.will_set(*will)
        self.paho.on_connect = self.on_connect
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda *_: self.subscribed.set()
        self.paho.on_publish = lambda _c, _u, mid, code, _p: self.codes.__setitem__(mid, code.value)
        if kept:
            connect.setdefault("SessionExpiryInterval", 300)
        options = {"clean_start": not kept, "properties": properties(PacketTypes.CONNECT, **connect)}
        self.paho.connect("localhost", port, **(options if is_5 else {}))
        self.paho.loop_start()
        eventually(lambda: self.present or self.failed, f"{name} is connected")

    def on_connect(self, _client, _data, flags, code, _properties):
        (self.failed if code.is_failure else self.present).append(flags.session_present)

    def subscribe(self, topic, qos=2, **more):
        self.subscribed.clear()
        if more:
            more = {"properties": properties(PacketTypes.SUBSCRIBE, **more),
                    "options": SubscribeOptions(qos=qos)}
            self.paho.subscribe(topic, **more)
        else:
            self.paho.subscribe(topic, qos)
        assert self.subscribed.wait(PATIENCE), topic

    def publish(self, topic, payload, qos=1, retain=False, **more):
        """Ends with the exchange; the packet id."""
        more = {"properties": properties(PacketTypes.PUBLISH, **more)} if more else {}
        sent = self.paho.publish(topic, payload, qos, retain, **more)
        sent.wait_for_publish(PATIENCE)
        assert sent.is_published()
        return sent.mid

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def payloads(self, count):
        return [self.next().payload.decode() for _ in range(count)]

    def is_quiet(self):
        time.sleep(0.3)
        return self.messages.empty()

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self):
        """Without a DISCONNECT."""
        self.paho.loop_stop()
        self.paho.socket().close()


def exchanges(brooklet):
    """Every QoS both ways and what is stored of it, in both versions; what is refused."""
    for version, protocol in VERSIONS:
        name = f"paho{version}"
        topic = f"devices/{name}/data"
        client = Client(brooklet.mqtt, name, protocol)
        client.subscribe(topic)
        for qos in (0, 1, 2):
            client.publish(topic, json.dumps({"qos": qos}), qos)
            message = client.next()
            assert (message.qos, json.loads(message.payload)) == (qos, {"qos": qos}), message
        refused = client.publish(topic, "not json")
        if protocol == mqtt.MQTTv5:
            assert client.codes[refused] == 0x83, client.codes
        client.leave()
        history = brooklet.get(f"/api/data/history?device_id={name}")["items"]
        assert len(history) == 3, history
        assert Client(brooklet.mqtt, "guesser", protocol, password="guessed").failed
        retained(brooklet, protocol, f"paho/{version}")


def retained(brooklet, protocol, topic):
    """Retained messages and wills."""
    watcher = Client(brooklet.mqtt, "watcher", protocol)
    watcher.subscribe(f"{topic}/#")
    leaving = Client(brooklet.mqtt, "leaving", protocol, will=(f"{topic}/will", "not sent", 1))
    leaving.leave()
    maker = Client(brooklet.mqtt, "maker", protocol, will=(f"{topic}/will", "gone", 2, True))
    maker.publish(f"{topic}/kept", "1", 2, retain=True)
    maker.vanish()
    assert watcher.payloads(2) == ["1", "gone"]
    late = Client(brooklet.mqtt, "late", protocol)
    late.subscribe(f"{topic}/#", 1)
    got = {(m.topic, m.payload.decode(), m.qos, m.retain) for m in (late.next(), late.next())}
    assert got == {(f"{topic}/kept", "1", 1, True), (f"{topic}/will", "gone", 1, True)}, got
    late.publish(f"{topic}/kept", "", 1, retain=True)
    late.next()
    later = Client(brooklet.mqtt, "later", protocol)
    later.subscribe(f"{topic}/kept")
    assert later.is_quiet() and watcher.payloads(1) == [""]
    for client in (watcher, late, later):
        client.leave()


def sessions(brooklet):
    """Messages of QoS 1 and 2 wait for an absent client, in order, and come once."""
    for version, protocol in VERSIONS:
        topic = f"keep/{version}"
        keeper = Client(brooklet.mqtt, f"keeper{version}", protocol, kept=True)
        keeper.subscribe(topic)
        keeper.leave()
        maker = Client(brooklet.mqtt, "maker", protocol)
        for n in range(20):
            maker.publish(topic, str(n), 1 + n % 2)
        for expected in ([str(n) for n in range(20)], []):
            again = Client(brooklet.mqtt, f"keeper{version}", protocol, kept=True)
            came = again.payloads(len(expected))
            assert again.present == [True] and by_qos(came) == by_qos(expected), came
            assert again.is_quiet()
            again.leave()
        keeper = Client(brooklet.mqtt, f"keeper{version}", protocol)
        assert keeper.present == [False]
        keeper.leave()
        maker.leave()


def version_5(brooklet):
    """Properties, aliases, expiry, the receive maximum, shared subscriptions."""
    one = Client(brooklet.mqtt, "one", TopicAliasMaximum=5)
    one.subscribe("five/#", 1, SubscriptionIdentifier=7)
    one.publish("five/a", "all", ResponseTopic="five/answers", CorrelationData=b"\0\xff",
                UserProperty=[("b", "1"), ("a", "2"), ("b", "3")], ContentType="text/plain",
                MessageExpiryInterval=60, PayloadFormatIndicator=1)
    got = one.next().properties
    assert (got.ResponseTopic, got.CorrelationData) == ("five/answers", b"\0\xff"), got
    assert got.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")], got
    assert (got.ContentType, got.PayloadFormatIndicator) == ("text/plain", 1), got
    assert got.SubscriptionIdentifier == [7] and 0 < got.MessageExpiryInterval <= 60, got

    # Both sides introduce an alias with the first message and leave the topic out in the others.
    plain = Client(brooklet.mqtt, "plain")
    plain.subscribe("five/alias")
    for topic in ("five/alias", "", ""):
        one.publish(topic, "aliased", TopicAlias=3)
    assert [plain.next().topic for _ in range(3)] == ["five/alias"] * 3
    shortened = [one.next() for _ in range(3)]
    assert [message.topic for message in shortened] == ["five/alias", "", ""], shortened
    assert len({message.properties.TopicAlias for message in shortened}) == 1, shortened
    one.leave()
    window_and_expiry(brooklet, plain)
    shared(brooklet, plain)
    plain.leave()


def window_and_expiry(brooklet, maker):
    slow = Client(brooklet.mqtt, "slow", kept=True)
    slow.subscribe("five/slow")
    slow.leave()
    maker.publish("five/slow", "stale", 2, MessageExpiryInterval=1)
    for n in range(4):
        maker.publish("five/slow", str(n), 1 + n % 2)
    time.sleep(1.5)
    slow = Client(brooklet.mqtt, "slow", kept=True, manual_ack=True, ReceiveMaximum=1)
    for n in range(4):
        message = slow.next()
        assert message.payload.decode() == str(n), message.payload
        assert slow.is_quiet(), "a second message before the first is acknowledged"
        slow.paho.ack(message.mid, message.qos)
    slow.leave()


def shared(brooklet, maker):
    members = [Client(brooklet.mqtt, f"member{n}") for n in range(3)]
    for member in members:
        member.subscribe("$share/team/jobs/#")
    for n in range(30):
        maker.publish(f"jobs/{n}", str(n), 1 + n % 2)
    eventually(lambda: sum(m.messages.qsize() for m in members) == 30, "every job is given out")
    counts = [member.messages.qsize() for member in members]
    jobs = [job for member, count in zip(members, counts) for job in member.payloads(count)]
    assert sorted(map(int, jobs)) == list(range(30)) and min(counts) > 0, counts
    for member in members:
        assert member.is_quiet()
        member.leave()


def over_web_socket(brooklet, name, authority):
    for version, protocol in VERSIONS:
        client = Client(brooklet.ports[name], f"paho-{name}{version}", protocol, transport="websockets",
                        authority=authority if name == "wss" else None)
        client.subscribe("paho/ws")
        for qos, size in ((0, 1), (1, 1000), (2, 200_000)):
            client.publish("paho/ws", bytes(size), qos)
            message = client.next()
            assert (message.qos, len(message.payload)) == (qos, size), message
        client.leave()
