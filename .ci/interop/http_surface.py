"""HTTP as others speak it: curl over TLS with both versions, and an abuse run of plain sockets."""

import json
import socket
import ssl
import threading
import time
import urllib.request

from brooklet import PATIENCE, certificates, run

KEY = "a-key-that-may-do-everything"
HELD = 3000
FLOOD = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Flood: yyyyyyyy\r\n" * 20_000


def closed_with_tls(folder):
    """TLS beside plain HTTP, a key, and nobody let in without."""
    files = certificates(folder)
    return {
        "BROOKLET__HTTP__LISTENERS": f'[{{ address = "127.0.0.1:0", {files} }}]',
        "BROOKLET__HTTP__API_KEYS": f'[{{ name = "tools", key = "{KEY}" }}]',
        "BROOKLET__HTTP__ALLOW_ANONYMOUS": "false",
        "BROOKLET__HTTP__OPEN_METRICS": "false",
        "BROOKLET__HTTP__MAX_CONNECTIONS": "4000",
        "BROOKLET__HTTP__MAX_CONNECTIONS_PER_ADDRESS": "0",
        "BROOKLET__HTTP__HEADER_TIMEOUT": "5s",
        "BROOKLET__HTTP__REQUEST_TIMEOUT": "5s",
    }


def with_curl(brooklet):
    authority, url = f"{brooklet.folder}/server.pem", f"https://localhost:{brooklet.ports['https']}"
    for version, spoken in (("--http2", "2"), ("--http1.1", "1.1")):
        told = run("curl", "-sS", "--cacert", authority, version, "--compressed", "-H", f"X-API-Key: {KEY}",
                   "-w", "\n%{http_version} %{http_code}", url + "/api/devices", url + "/openapi.json")
        assert told.count(f"\n{spoken} 200") == 2, told
        told = run("curl", "-sS", "--cacert", authority, version, "-o", "/dev/null", "-D", "-", url + "/api/devices")
        assert "401" in told.splitlines()[0] and "x-request-id" in told.lower(), told
    told = run("curl", "-sS", "--http2-prior-knowledge", "-w", "\n%{http_version}", brooklet.http + "/health")
    assert told.endswith("\n2"), told


def memory(brooklet):
    with open(f"/proc/{brooklet.process.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def opened(brooklet, start=b""):
    plain = socket.create_connection(("127.0.0.1", brooklet.ports["http"]), PATIENCE)
    plain.sendall(start)
    return plain


def abuse(brooklet):
    """Thousands of half-open connections, half of a TLS handshake, slow bodies and floods at once; who
    has a key is served all the while, who has none never is."""
    served, slowest, done = 0, 0.0, threading.Event()

    def serve():
        nonlocal served, slowest
        while not done.is_set():
            request = urllib.request.Request(brooklet.http + "/api/devices", headers={"X-API-Key": KEY})
            begun = time.monotonic()
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                assert json.load(response)["items"] == []
            served, slowest = served + 1, max(slowest, time.monotonic() - begun)

    before = memory(brooklet)
    server = threading.Thread(target=serve)
    server.start()
    tls = ssl.create_default_context(cafile=f"{brooklet.folder}/server.pem")
    held = []
    try:
        for n in range(HELD):
            match n % 4:
                case 0:
                    held.append(opened(brooklet))
                case 1:
                    held.append(opened(brooklet, b"GET /api/devices HTTP/1.1\r\nX-"))
                case 2:
                    held.append(opened(brooklet, b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\n"
                                                 b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"))
                case _:
                    half = socket.create_connection(("127.0.0.1", brooklet.ports["https"]), PATIENCE)
                    half.sendall(b"\x16\x03\x01\x02\x00\x01")
                    held.append(half)
        for _ in range(50):
            flood = opened(brooklet)
            try:
                flood.sendall(FLOOD)
                answer = flood.recv(4096)
            except OSError:
                answer = b""
            assert not answer or b" 431 " in answer, answer
            flood.close()
        with socket.create_connection(("127.0.0.1", brooklet.ports["https"]), PATIENCE) as plain:
            with tls.wrap_socket(plain, server_hostname="localhost") as stream:
                stream.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert b" 401 " in stream.recv(4096)
        grown = memory(brooklet) - before
        # Each is ended, without having waited for more than its time.
        for one in held:
            one.settimeout(PATIENCE)
            try:
                while one.recv(65536):
                    pass
            except ConnectionError:
                pass
    finally:
        done.set()
        server.join()
    assert served > 20, served
    print(f"{HELD} held, {served} served meanwhile (slowest {slowest:.2f} s), memory +{grown} kB, "
          f"after +{memory(brooklet) - before} kB", flush=True)
    assert grown < 150_000, grown
