"""The binary and a shell in one fresh folder, in which a reader's commands are typed one by one."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from document import ROOT

PATIENCE = 20
# Documented port: what a command has to say so that it reaches another one.
MQTT, HTTP = 1883, 8080
DOCUMENTED = [MQTT, HTTP, 8883, 9001]
END = "\x1e"


def free(port):
    """The port itself, or another one where somebody has it."""
    for wanted in (port, 0):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", wanted))
                return one.getsockname()[1]
            except OSError:
                continue
    raise OSError("no port is free")


class Tour:
    def __init__(self, binary):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="brooklet-readme-"))
        for name in ("examples", "docs"):
            (self.folder / name).symlink_to(ROOT / name)
        tools = self.folder / "target" / "release"
        tools.mkdir(parents=True)
        (tools / "brooklet").symlink_to(pathlib.Path(binary).resolve())
        self.ports = {port: free(port) for port in DOCUMENTED}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("BROOKLET__") and k != "API_KEY"}
        self.environment = clean | {
            "PATH": f"{tools}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "BROOKLET__MQTT__LISTEN": f"127.0.0.1:{self.ports[MQTT]}",
            "BROOKLET__HTTP__LISTEN": f"127.0.0.1:{self.ports[HTTP]}",
            "PYTHONUNBUFFERED": "1",
        }
        # What the README was given, and what this run was given in its place: keys.
        self.given = {}

    def __enter__(self):
        self.log = open(self.folder / "log", "ab")
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        self.said, self.heard = "", threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()
        self.start()
        return self

    def __exit__(self, *_):
        # The shell, and what it left in the background.
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()
        self.server.terminate()
        self.server.wait(PATIENCE)
        self.log.close()
        shutil.rmtree(self.folder)

    def listen(self):
        while piece := os.read(self.shell.stdout.fileno(), 65536):
            with self.heard:
                self.said += piece.decode(errors="replace")
                self.heard.notify_all()

    def start(self):
        begin = self.log.tell()
        self.server = subprocess.Popen(["target/release/brooklet"], cwd=self.folder, env=self.environment,
                                       stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + PATIENCE
        while "Brooklet is ready" not in (said := (self.folder / "log").read_text()[begin:]):
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Brooklet does not start:\n{said}")
            time.sleep(0.05)

    def kill_and_start(self):
        self.server.kill()
        self.server.wait(PATIENCE)
        self.start()

    def restart_with(self, toml):
        """On this file, which is for this machine only: what others could reach is not opened here."""
        toml = self.mapped(toml.replace("0.0.0.0:", "127.0.0.1:"))
        if hashed := self.given.get("ARGON2"):
            toml = re.sub(r"\$argon2id\$[^\"]*\.\.\.", lambda _: hashed, toml)
        (self.folder / "broker.toml").write_text(toml)
        self.server.terminate()
        self.server.wait(PATIENCE)
        self.start()

    def check(self, toml):
        """What `brooklet config check` says of a file; None: it is right."""
        path = self.folder / "checked.toml"
        path.write_text(toml)
        clean = {k: v for k, v in self.environment.items() if not k.startswith("BROOKLET__")}
        done = subprocess.run(["target/release/brooklet", "config", "check", "--config", path.name],
                              cwd=self.folder, env=clean, capture_output=True, text=True)
        return (done.stderr or done.stdout) if done.returncode else None

    def mapped(self, text):
        """With this run's ports and secrets."""
        for told, own in self.given.items():
            text = text.replace(told, own)
        for port, own in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1:|localhost:|-p ){port}\b", rf"\g<1>{own}", text)
        if self.ports[MQTT] != MQTT:
            text = re.sub(r"\b(mosquitto_[ps]ub)(?![^\n;&|]*(?:\\\n[^\n;&|]*)* -p )", rf"\1 -p {self.ports[MQTT]}", text)
        if self.ports[HTTP] != HTTP:
            address = f"http://127.0.0.1:{self.ports[HTTP]}"
            text = re.sub(r"(examples/read_api\.py)(?! http)", rf"\1 {address}", text)
        return text

    def unmapped(self, text):
        for port, own in self.ports.items():
            if own != port:
                text = text.replace(f"127.0.0.1:{own}", f"127.0.0.1:{port}")
        return text.replace(str(self.folder) + "/", "")

    def type(self, command):
        """(what it says, whether it ended well). What runs in the background goes on."""
        (self.folder / ".step").write_text(self.mapped(command) + "\n")
        with self.heard:
            begin = len(self.said)
            self.shell.stdin.write(f". ./.step </dev/null; printf '{END}%s{END}' $?\n")
            self.shell.stdin.flush()
            if not self.heard.wait_for(lambda: self.said.count(END, begin) >= 2, PATIENCE):
                raise RuntimeError(f"does not end: {command}")
            said, code, _ = self.said[begin:].split(END, 2)
        return self.unmapped(said), code == "0"

    def overheard(self, begin):
        """All that was said since, by commands and from the background."""
        with self.heard:
            said = self.said[begin:]
        return self.unmapped(re.sub(f"{END}[^{END}]*{END}", "", said))
