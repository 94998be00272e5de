"""A client that a generator of others makes of the OpenAPI document: it compiles whole, and is used."""

import compileall
import subprocess
from pathlib import Path

from brooklet import ROOT, TOOLS, run
from tools import KEY

USE = """
import sys
from brooklet_client import AuthenticatedClient
from brooklet_client.api.alarms import list_alarms
from brooklet_client.api.data import latest_data
from brooklet_client.api.devices import create_device, list_devices
from brooklet_client.models import NewDeviceBody

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], prefix="", auth_header_name="X-API-Key")
made = create_device.sync(client=client, body=NewDeviceBody(device="made"))
assert made.device == "made", made
devices = [device.device for device in list_devices.sync(client=client).items]
assert devices == ["d", "made"], devices
[reading] = latest_data.sync(client=client, device_id="d").items
assert (reading.sensor, reading.value, reading.unit) == ("t", 21.5, "°C"), reading
assert list_alarms.sync(client=client).items == []
"""


def generated_client(brooklet):
    payload = '{"sensors": [{"sensor_name": "t", "value": 21.5, "unit": "°C"}]}'
    run("mosquitto_pub", "-p", brooklet.mqtt, "-q", "1", "-t", "devices/d/data", "-m", payload)
    package = Path(brooklet.folder) / "brooklet_client"
    told = subprocess.run(
        [TOOLS / "openapi-python-client", "generate", "--path", ROOT / "openapi/openapi.json",
         "--output-path", package, "--meta", "none"],
        capture_output=True, text=True, check=True).stdout
    # It knows JSON bodies only.
    left_out = [line for line in told.splitlines() if line.startswith("WARNING")]
    assert all("/api/data/import" in line for line in left_out), told
    assert compileall.compile_dir(package, quiet=1)
    run(TOOLS / "python", "-c", USE, brooklet.http, KEY, cwd=brooklet.folder)
