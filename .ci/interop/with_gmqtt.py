"""gmqtt: MQTT 5.0 and 3.1.1 on asyncio."""

import asyncio
import logging

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError

from brooklet import PASSWORD, PATIENCE, USER

# It warns of every connection that ends; what matters here is asserted.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)


class Client:
    """A connected client that collects what comes as (topic, payload, QoS, properties)."""

    @classmethod
    async def connect(cls, brooklet, name, version=MQTTv50, kept=False, password=PASSWORD, **more):
        self = cls()
        self.messages, self.subscribed = asyncio.Queue(), asyncio.Event()
        session = {"session_expiry_interval": 300} if kept and version == MQTTv50 else {}
        self.gmqtt = gmqtt.Client(name, clean_session=not kept, **session, **more)
        # It takes 0 for one, and -1 for any number.
        self.gmqtt.set_config({"reconnect_retries": -2})
        self.gmqtt.set_auth_credentials(USER, password)
        self.gmqtt.on_message = self.on_message
        self.gmqtt.on_subscribe = lambda *_: self.subscribed.set()
        self.gmqtt.on_connect = self.on_connect
        await asyncio.wait_for(self.gmqtt.connect("127.0.0.1", brooklet.mqtt, version=version), PATIENCE)
        return self

    def on_connect(self, _client, flags, _code, _properties):
        self.present = flags & 1

    async def on_message(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait((topic, payload.decode(), qos, properties))
        return 0

    async def subscribe(self, topic, qos=2, **more):
        self.subscribed.clear()
        self.gmqtt.subscribe(topic, qos, **more)
        await asyncio.wait_for(self.subscribed.wait(), PATIENCE)

    async def next(self):
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def is_quiet(self):
        await asyncio.sleep(0.3)
        return self.messages.empty()


async def exchanges(brooklet, version):
    try:
        await Client.connect(brooklet, "guesser", version, password="guessed")
        raise AssertionError("a wrong password is let in")
    except MQTTConnectError:
        pass
    topic = f"gmqtt/{version}"
    will = gmqtt.Message(f"{topic}/will", "gone", qos=1)
    keeper = await Client.connect(brooklet, "keeper", version, kept=True)
    maker = await Client.connect(brooklet, "maker", version, will_message=will)
    await keeper.subscribe(f"{topic}/#")
    for qos in (0, 1, 2):
        maker.gmqtt.publish(f"{topic}/a", "here", qos=qos, retain=qos == 1)
        assert (await keeper.next())[:3] == (f"{topic}/a", "here", qos)
    late = await Client.connect(brooklet, "late", version)
    await late.subscribe(f"{topic}/a", 1)
    got = await late.next()
    assert got[:3] == (f"{topic}/a", "here", 1) and got[3]["retain"], got

    await keeper.is_quiet()
    await keeper.gmqtt.disconnect()
    for n in range(6):
        maker.gmqtt.publish(f"{topic}/b", str(n), qos=1 + n % 2)
    keeper = await Client.connect(brooklet, "keeper", version, kept=True)
    assert keeper.present
    for n in range(6):
        assert (await keeper.next())[:3] == (f"{topic}/b", str(n), 1 + n % 2)
    assert await keeper.is_quiet()

    maker.gmqtt._connection._transport.abort()
    assert (await keeper.next())[:2] == (f"{topic}/will", "gone")
    for client in (keeper, late):
        await client.gmqtt.disconnect()


async def version_5(brooklet):
    client = await Client.connect(brooklet, "both", receive_maximum=10)
    await client.subscribe("five/a", 1, subscription_identifier=7)
    client.gmqtt.publish("five/a", "all", qos=1, response_topic="five/b", correlation_data=b"42",
                         user_property=[("b", "1"), ("a", "2"), ("b", "3")], content_type="text/plain",
                         message_expiry_interval=60)
    got = (await client.next())[3]
    assert got["user_property"] == [("b", "1"), ("a", "2"), ("b", "3")], got
    assert got["subscription_identifier"] == [7] and got["content_type"] == ["text/plain"], got
    assert got["response_topic"] == ["five/b"] and got["correlation_data"] == [b"42"], got

    members = [await Client.connect(brooklet, f"member{n}") for n in range(3)]
    for member in members:
        await member.subscribe("$share/team/jobs")
    for n in range(9):
        client.gmqtt.publish("jobs", str(n), qos=1 + n % 2)
    jobs = [(await member.next())[1] for member in members for _ in range(3)]
    assert sorted(jobs) == [str(n) for n in range(9)], jobs
    for member in (client, *members):
        assert await member.is_quiet()
        await member.gmqtt.disconnect()


def gmqtt_clients(brooklet):
    """Every QoS both ways, retained messages, wills, sessions, passwords; properties and sharing."""
    for version in (MQTTv311, MQTTv50):
        asyncio.run(exchanges(brooklet, version))
    asyncio.run(version_5(brooklet))
