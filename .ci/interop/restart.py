"""`kill -9` of the broker below clients that keep their sessions: what was acknowledged arrives."""

import signal

import with_paho
from brooklet import by_qos, eventually
from with_mosquitto import Mosquitto

COUNT = 40
KEEPER = ["-c", "--id", "crash-mosquitto"]


def kill_and_restart(brooklet):
    for is_there in (False, True):
        below_subscribers(brooklet, is_there)


def below_subscribers(brooklet, is_there):
    """They are away when it happens; or they are there and have taken nothing: paho acknowledges only
    afterwards, mosquitto_sub is stopped. Then they find the restarted broker by themselves."""
    topic = f"crash/{is_there}"
    paho = with_paho.Client(brooklet.mqtt, "crash-paho", kept=True, manual_ack=is_there)
    paho.subscribe(topic)
    # In 5.0 it counts what it has half done, and gets again, twice against its receive maximum.
    mosquitto = Mosquitto(brooklet.mqtt, "mqttv311")
    watcher = mosquitto.subscribe(topic, *KEEPER)
    if is_there:
        watcher.process.send_signal(signal.SIGSTOP)
    else:
        paho.leave()
        watcher.process.kill()
        watcher.process.wait()
    maker = with_paho.Client(brooklet.mqtt, "maker")
    sent = [f"{1 + n % 2} {n}" for n in range(COUNT)]
    for n, payload in enumerate(sent):
        maker.publish(topic, payload, 1 + n % 2)
    maker.vanish()
    brooklet.kill()
    came = []
    if is_there:
        eventually(lambda: not paho.paho.is_connected(), "paho knows")
        # What it has not acknowledged of QoS 1 is to come again.
        before = paho.payloads(paho.messages.qsize())
        came = [payload for payload in before if payload.startswith("2 ")]
    brooklet.restart()
    if is_there:
        watcher.process.send_signal(signal.SIGCONT)
    else:
        paho = with_paho.Client(brooklet.mqtt, "crash-paho", kept=True)
        watcher = mosquitto.subscribe(topic, *KEEPER)
    while len(set(came)) < COUNT or paho.messages.qsize():
        message = paho.next()
        came.append(message.payload.decode())
        if is_there:
            paho.paho.ack(message.mid, message.qos)
    assert all(paho.present[is_there:]), paho.present
    for client, got in (("paho", came), ("mosquitto_sub", watcher.heard(until=lambda h: set(h) >= set(sent)))):
        # What a client had not acknowledged comes again, but no QoS 2 message twice.
        assert by_qos(dict.fromkeys(got)) == by_qos(sent), (client, got)
        twice = {payload for payload in got if got.count(payload) > 1}
        assert all(payload.startswith("1 ") for payload in twice) and (is_there or not twice), (client, got)
    assert paho.is_quiet(), (is_there, paho.next().payload, paho.present)
    paho.leave()
