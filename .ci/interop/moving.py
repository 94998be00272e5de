"""Data of the former systems: their own tables, through the commands of docs/migrating.md."""

import json
import os
import pathlib
import re
import shutil
import tempfile
import urllib.request

from brooklet import BINARY, ROOT, eventually, run

ESP32 = """
CREATE TABLE telemetry (id SERIAL PRIMARY KEY, device_id VARCHAR(64) NOT NULL, fw_version VARCHAR(32), ip INET,
    uptime_sec INTEGER, temp_c REAL, timestamp TIMESTAMP WITH TIME ZONE DEFAULT NOW());
INSERT INTO telemetry (device_id, temp_c, timestamp) VALUES ('cabinet-1', 25.5, '2025-09-24 10:00:00+08'),
    ('cabinet-1', 25.75, '2025-09-24 10:00:10.25+08'), ('cabinet-2', NULL, '2025-09-24 10:00:00+08');
"""
OEI_MS = """
CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50), email VARCHAR(100), hashed_password VARCHAR(255),
    is_active BOOLEAN DEFAULT TRUE, is_superuser BOOLEAN DEFAULT FALSE);
INSERT INTO users (username, email, hashed_password, is_superuser) VALUES
    ('root', 'root@plant.example', '$2b$04$uvBmFiM8pnBOAGGyKh1lu.7V0yqlqqLlhpHP3d9R.yZxvbqYxcmEK', TRUE),
    ('joe', 'joe@plant.example', '$2b$04$uvBmFiM8pnBOAGGyKh1lu.7V0yqlqqLlhpHP3d9R.yZxvbqYxcmEK', FALSE);
CREATE TABLE sensors (id SERIAL PRIMARY KEY, name VARCHAR(100), type VARCHAR(50), unit VARCHAR(20), gateway_id INTEGER);
INSERT INTO sensors (name, type, unit, gateway_id) VALUES ('Inlet', 'pressure', 'bar', 7), ('Outlet', 'pressure', 'bar', 7);
CREATE TABLE sensor_data (id SERIAL PRIMARY KEY, sensor_id INTEGER NOT NULL, value FLOAT NOT NULL,
    timestamp TIMESTAMP NOT NULL, quality VARCHAR(20) DEFAULT 'good');
INSERT INTO sensor_data (sensor_id, value, timestamp, quality) VALUES (1, 1.5, '2025-06-01 12:00:00', 'good'),
    (1, 1.6, '2025-06-01 12:00:01.5', 'uncertain'), (2, 1.25, '2025-06-01 12:00:00', 'good');
"""
AIOT = """
CREATE TABLE device_main (device_id VARCHAR(50), uuid VARCHAR(64), name VARCHAR(100), is_online BOOLEAN, last_seen DATETIME,
    last_report_data JSON);
INSERT INTO device_main (uuid, last_seen, last_report_data) VALUES
    ('lamp', '2025-12-19 06:30:00', '{"sensors": [{"sensor_name": "light", "value": 850, "unit": "lx"},
      {"sensor_name": "temperature", "value": 26.5, "unit": "°C", "timestamp": "2025-12-19T14:30:00+08:00"}]}'),
    ('silent', NULL, NULL);
"""


class Databases:
    """Private servers, in a folder that their users may enter."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        run(ROOT / ".ci" / "databases", "start", self.folder)
        self.postgres = (self.folder / "postgres.port").read_text().strip()
        self.mariadb = (self.folder / "mariadb.port").read_text().strip()
        tools = self.folder / "tools"
        tools.mkdir()
        client = tools / "mysql"
        client.write_text(f'#!/bin/sh\nexec mariadb --no-defaults -h 127.0.0.1 -P {self.mariadb} -u admin "$@"\n')
        client.chmod(0o755)
        (tools / "brooklet").symlink_to(BINARY)
        self.environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
        return self

    def url(self, database):
        return f"postgresql://brooklet@127.0.0.1:{self.postgres}/{database}"

    def make(self, database, tables):
        run("psql", self.url("postgres"), "-qc", f"CREATE DATABASE {database}")
        run("psql", self.url(database), "-q", input=tables)
        return self.url(database)

    def __exit__(self, *_):
        run(ROOT / ".ci" / "databases", "stop", self.folder)
        shutil.rmtree(self.folder)


def commands(system):
    """What the document says under a system's name."""
    text = (ROOT / "docs" / "migrating.md").read_text()
    section = text.split(f"\n## {system}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.S)


def do(brooklet, databases, system, **variables):
    for command in commands(system):
        command = command.replace("http://127.0.0.1:8080", brooklet.http)
        environment = databases.environment | brooklet.environment | {"PATH": databases.environment["PATH"]} | variables
        run("bash", "-euo", "pipefail", "-c", command, cwd=brooklet.folder, env=environment)


def imported(brooklet, number):
    path = f"/api/jobs/{number}"
    eventually(lambda: brooklet.get(path)["state"] == "done", path)
    return brooklet.get(path)["result"]


def readings(brooklet, device):
    page = brooklet.get(f"/api/data?device_id={device}&order=asc")["items"]
    return [tuple(row.get(key) for key in ("sensor", "event_time", "value", "unit", "quality")) for row in page]


def signs_in(brooklet, name):
    """With the password that the hash is of; gives a token."""
    body = json.dumps({"username": name, "password": "correct horse"}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{brooklet.http}/api/auth/login", body, headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)["access_token"]


def tables_of_former_systems(brooklet):
    with Databases() as databases:
        run(databases.folder / "tools" / "mysql", "-e", "CREATE DATABASE aiot_admin")
        run(databases.folder / "tools" / "mysql", "--default-character-set=utf8mb4", "aiot_admin", input=AIOT)
        do(brooklet, databases, "AIOT MQTT service")
        assert imported(brooklet, 1)["stored"] == 2
        at = "2025-12-19T06:30:00.000Z"
        assert readings(brooklet, "lamp") == [
            ("light", at, 850, "lx", "good"), ("temperature", at, 26.5, "°C", "good")
        ], readings(brooklet, "lamp")
        do(brooklet, databases, "ESP32 temperature monitor", PG_URI=databases.make("iot", ESP32))
        assert imported(brooklet, 2)["stored"] == 3
        assert [row[1:3] for row in readings(brooklet, "cabinet-1")] == [
            ("2025-09-24T02:00:00.000Z", 25.5), ("2025-09-24T02:00:10.250Z", 25.75)
        ], readings(brooklet, "cabinet-1")
        assert [row[2:] for row in readings(brooklet, "cabinet-2")] == [(None, "°C", "bad")]
        do(brooklet, databases, "OEI-MS backend", DATABASE_URL=databases.make("oei_ms", OEI_MS))
        # Where there are users, nobody else is answered.
        brooklet.token = signs_in(brooklet, "root")
        assert imported(brooklet, 3)["stored"] == 3
        assert [row[:3] + row[4:] for row in readings(brooklet, "7") if row[0] == "1"] == [
            ("1", "2025-06-01T12:00:00.000Z", 1.5, "good"), ("1", "2025-06-01T12:00:01.500Z", 1.6, "uncertain")
        ], readings(brooklet, "7")
        roles = {user["name"]: user["role"] for user in brooklet.get("/api/users")["items"]}
        assert roles == {"root": "admin", "joe": "operator"}, roles
