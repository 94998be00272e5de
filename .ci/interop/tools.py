"""What is no MQTT client: promtool, openapi-spec-validator, schemathesis, and the examples."""

import os
import subprocess
import sys
import urllib.request

from brooklet import PATIENCE, ROOT, TOOLS, run

KEY = "a-key-that-may-do-everything"


def with_key(_folder):
    """A key of the configuration: no request can take it away."""
    return {"BROOKLET__HTTP__API_KEYS": f'[{{ name = "tools", key = "{KEY}" }}]'}


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
            "-H", f"X-API-Key: {KEY}",
            "--exclude-operation-id", "stream",  # it has no end
            cwd=brooklet.folder)
    except subprocess.CalledProcessError as error:
        print(error.stdout[-6000:])
        raise
