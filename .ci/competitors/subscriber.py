"""The design that many begin with: mosquitto, a paho-mqtt subscriber, SQLAlchemy, one commit a message.

    subscriber.py PORT DATABASE_URL"""

import json
import sys
import time

import paho.mqtt.client as mqtt
from sqlalchemy import BigInteger, Double, Index, Integer, String, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

port, url = int(sys.argv[1]), sys.argv[2]
engine = create_engine(url)
if url.startswith("sqlite"):
    @event.listens_for(engine, "connect")
    def durable(connection, _record):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")


class Base(DeclarativeBase):
    pass


class Reading(Base):
    __tablename__ = "sensor_reading"
    # SQLite numbers rows by itself only where the key is its own kind of integer.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    sensor: Mapped[str] = mapped_column(String(64))
    time: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float] = mapped_column(Double)
    __table_args__ = (Index("reading_time", "device", "sensor", "time"),)


Base.metadata.create_all(engine)


def store(_client, _data, message):
    device = message.topic.split("/")[1]
    with Session(engine) as session:
        for sensor, value in json.loads(message.payload).items():
            if isinstance(value, (int, float)):
                session.add(Reading(device=device, sensor=sensor, time=time.time_ns() // 1000, value=value))
        session.commit()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False)
client.on_message = store
client.on_connect = lambda client, *_: client.subscribe("devices/+/data", 1)
client.connect("127.0.0.1", port)
client.loop_forever()
