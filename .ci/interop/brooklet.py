"""The built binary on free ports, in a folder of its own, and what every check needs beside it."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = pathlib.Path(sys.argv[1]).resolve()
TOOLS = pathlib.Path(sys.argv[2])
NODE_MODULES = pathlib.Path(sys.argv[3])
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATIENCE = 20
USER, PASSWORD = "ann", "secret"


class Brooklet:
    """The running binary; `settings` makes further variables of its folder."""

    def __init__(self, settings=lambda _folder: {}):
        self.settings = settings
        # Of somebody who has signed in.
        self.token = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("BROOKLET__")}
        self.environment |= {
            "BROOKLET__MQTT__LISTEN": f'["127.0.0.1:{lasting_port()}"]',
            "BROOKLET__HTTP__LISTEN": '["127.0.0.1:0"]',
            "BROOKLET__LOG__FORMAT": "json",
            "BROOKLET__LOG__HTTP_ACCESS": "false",
        } | self.settings(pathlib.Path(self.folder))
        self.log = []
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen(
            [BINARY], cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self.ports, line = {}, {}
        while line.get("message") != "Brooklet is ready":
            line = json.loads(self.process.stderr.readline())
            self.log.append(line)
            if line.get("message") == "listening":
                name = line.get("transport", line["protocol"])
                self.ports[name] = int(line["address"].rsplit(":", 1)[1])
        self.mqtt, self.http = self.ports["tcp"], f"http://127.0.0.1:{self.ports['http']}"
        threading.Thread(target=self.read_log, args=[self.process], daemon=True).start()

    def read_log(self, process):
        for line in process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"message": line})

    def kill(self):
        """`kill -9`."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def restart(self):
        """On the same folder and port, so that clients find it by themselves."""
        self.start()

    def __exit__(self, kind, *_):
        if kind:
            # How it ends must not hide what went wrong before.
            self.process.kill()
            self.process.wait(PATIENCE)
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)
        errors = [line for line in self.log if line.get("level") == "ERROR" or "panicked" in str(line)]
        assert code == 0, f"exit code {code}"
        assert not errors, errors

    def get(self, path):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.http + path, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)


def lasting_port():
    """A free port below those that the system gives to connections: a client that looks for a broker
    that is away is else given the very port that it connects to, and talks to itself."""
    while True:
        port = random.randint(15000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=600, **options
    ).stdout


def eventually(is_so, what):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def by_qos(payloads):
    """Payloads that end with a number, even where QoS was 1. Each QoS keeps its order; between them
    there is none to see, for some clients show a QoS 2 message only when it has been released."""
    return sorted(payloads, key=lambda payload: int(payload.split()[-1]) % 2)


def guarded(_folder):
    """One user, nobody anonymous."""
    password = run(BINARY, "hash-password", input=PASSWORD + "\n").strip()
    return {
        "BROOKLET__MQTT__ALLOW_ANONYMOUS": "false",
        "BROOKLET__ACCESS__USERS": f'[{{ name = "{USER}", password = "{password}" }}]',
    }


def certificates(folder):
    """Files for a listener, and the keys that name them."""
    certificate, key = folder / "server.pem", folder / "server.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", key, "-out", certificate)
    return f'certificate = "{certificate}", key = "{key}"'


def encrypted(folder):
    """The same, with every transport."""
    files = certificates(folder)
    listeners = [f'{{ address = "127.0.0.1:0", transport = "{transport}"{more} }}'
                 for transport, more in (("tls", ", " + files), ("ws", ""), ("wss", ", " + files))]
    return guarded(folder) | {"BROOKLET__MQTT__LISTENERS": f"[{', '.join(listeners)}]"}
