"""mosquitto_pub, mosquitto_sub and mosquitto_rr."""

import json
import subprocess

from brooklet import PASSWORD, PATIENCE, USER, by_qos, run

VERSIONS = ("mqttv311", "mqttv5")
LOGIN = ["-u", USER, "-P", PASSWORD]
MARK = "> "


class Mosquitto:
    """The commands with what they need to reach the broker."""

    def __init__(self, port, version, login=LOGIN, more=()):
        self.common = ["-p", str(port), "-V", version, *login, *more]

    def publish(self, topic, payload, *more, qos=1):
        return run("mosquitto_pub", *self.common, "-q", qos, "-t", topic, "-m", payload, *more)

    def subscribe(self, topic, *more, **options):
        return Watcher([*self.common, "-t", topic, *more], **options)

    def hears(self, topic, count, *more, **options):
        return self.subscribe(topic, "-C", str(count), *more, **options).heard()

    def is_refused(self, login):
        common = [part for part in self.common if part not in LOGIN]
        command = ["mosquitto_pub", *common, *login, "-q", "1", "-t", "x", "-m", "x"]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode != 0


class Watcher:
    """A mosquitto_sub that is subscribed. It ends after its count of messages (-C), or with PATIENCE."""

    def __init__(self, arguments, qos=2, form="%p"):
        # Only its debug lines tell when it is subscribed; what it hears is marked to be told apart.
        command = ["stdbuf", "-oL", "mosquitto_sub", "-d", *arguments, "-q", str(qos), "-W", str(PATIENCE),
                   "-F", MARK + form]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = []
        # A session that is resumed may give it all that it waits for before that.
        while (line := self.process.stdout.readline()) and "Subscribed (mid" not in line:
            self.lines.append(line)

    def heard(self, until=lambda _heard: False):
        """All that it heard up to its end, or until it is enough."""
        while not until(self.marked()) and (line := self.process.stdout.readline()):
            self.lines.append(line)
        self.process.kill()
        self.process.wait()
        return self.marked()

    def marked(self):
        return [line.strip()[len(MARK):] for line in self.lines if line.startswith(MARK)]


def exchanges(brooklet):
    """Every QoS both ways and what is stored of it; passwords; retained messages; wills."""
    for version in VERSIONS:
        mosquitto = Mosquitto(brooklet.mqtt, version)
        topic = f"devices/{version}/data"
        watcher = mosquitto.subscribe(topic, "-C", "3", form="%q %p")
        for qos in (0, 1, 2):
            mosquitto.publish(topic, json.dumps({"value": qos}), qos=qos)
        heard = watcher.heard()
        assert heard == [f'{qos} {{"value": {qos}}}' for qos in (0, 1, 2)], heard
        latest = brooklet.get(f"/api/data/latest?device_id={version}")["items"]
        assert latest[0]["value"] == 2, latest
        for wrong in (["-u", USER, "-P", "guessed"], []):
            assert mosquitto.is_refused(wrong), wrong

        mosquitto.publish(f"m/{version}", "kept", "-r", qos=2)
        assert mosquitto.hears(f"m/{version}", 1, form="%q %r %p") == ["2 1 kept"]
        dies = mosquitto.subscribe("none", "--will-topic", f"m/{version}", "--will-payload", "gone",
                                   "--will-qos", "1")
        watcher = mosquitto.subscribe(f"m/{version}", "-R", "-C", "1", form="%q %r %p")
        dies.process.kill()
        assert watcher.heard() == ["1 0 gone"]


def sessions(brooklet):
    """-c: messages of QoS 1 and 2 wait for who is away."""
    for version in VERSIONS:
        mosquitto = Mosquitto(brooklet.mqtt, version)
        keeper = ["-c", "--id", f"m-keeper-{version}"]
        run("mosquitto_sub", *mosquitto.common, *keeper, "-q", "2", "-t", f"wait/{version}", "-E")
        for n in range(6):
            mosquitto.publish(f"wait/{version}", str(n), qos=1 + n % 2)
        heard = mosquitto.hears(f"wait/{version}", 6, *keeper)
        assert by_qos(heard) == ["0", "2", "4", "1", "3", "5"], heard
        mosquitto.publish(f"wait/{version}", "last")
        assert mosquitto.hears(f"wait/{version}", 1, *keeper) == ["last"]


def version_5(brooklet):
    """User properties and the rest, request and response, shared subscriptions."""
    mosquitto = Mosquitto(brooklet.mqtt, "mqttv5")
    watcher = mosquitto.subscribe("five/a", "-C", "1", form="%P|%C|%D|%R|%F|%p")
    values = {"content-type": ["text/plain"], "correlation-data": ["42"], "response-topic": ["five/b"],
              "payload-format-indicator": ["1"], "message-expiry-interval": ["60"]}
    given = [part for name, value in values.items() for part in ("-D", "publish", name, *value)]
    for pair in (("b", "1"), ("a", "2"), ("b", "3")):
        given += ["-D", "publish", "user-property", *pair]
    mosquitto.publish("five/a", "all", *given)
    heard = watcher.heard()
    assert heard == ["b:1 a:2 b:3|text/plain|42|five/b|1|all"], heard

    answerer = mosquitto.subscribe("ask/time", "-C", "1", form="%R %D")
    asks = ["mosquitto_rr", *mosquitto.common, "-q", "1", "-t", "ask/time", "-e", "answers/mine", "-m", "?",
            "-D", "publish", "correlation-data", "7", "-W", str(PATIENCE)]
    asker = subprocess.Popen(asks, stdout=subprocess.PIPE, text=True)
    topic, correlation = answerer.heard()[0].split()
    mosquitto.publish(topic, "noon", "-D", "publish", "correlation-data", correlation)
    assert asker.communicate(timeout=PATIENCE)[0] == "noon\n"

    members = [mosquitto.subscribe("$share/team/jobs", "-C", "3") for _ in range(2)]
    for n in range(6):
        mosquitto.publish("jobs", str(n), qos=1 + n % 2)
    jobs = [member.heard() for member in members]
    assert sorted(jobs[0] + jobs[1]) == [str(n) for n in range(6)], jobs


def over_tls(brooklet, authority):
    for version in VERSIONS:
        more = ["-h", "localhost", "--cafile", authority]
        mosquitto = Mosquitto(brooklet.ports["tls"], version, more=more)
        mosquitto.publish(f"tls/{version}", "kept", "-r")
        assert mosquitto.hears(f"tls/{version}", 1) == ["kept"]
        for wrong in (["-u", USER, "-P", "guessed"], []):
            assert mosquitto.is_refused(wrong), wrong
