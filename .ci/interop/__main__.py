"""Runs the built binary and uses it with clients and tools that are not ours, one file for each kind.
Ends with a count of what passed.

    python .ci/interop BINARY FOLDER_OF_PYTHON_TOOLS FOLDER_OF_NODE_MODULES [CHECK...]"""

import os
import sys

import generated_client
import http_surface
import moving
import notifications
import restart
import streams
import tools
import with_gmqtt
import with_mosquitto
import with_paho
from brooklet import HERE, NODE_MODULES, PASSWORD, USER, Brooklet, encrypted, guarded, run


def mqtt_js(brooklet, name, authority):
    run("node", HERE / "mqttjs.cjs", f"{name}://localhost:{brooklet.ports[name]}/mqtt", authority, USER,
        PASSWORD, env=os.environ | {"NODE_PATH": str(NODE_MODULES)})


def transports(brooklet):
    authority = f"{brooklet.folder}/server.pem"
    with_mosquitto.over_tls(brooklet, authority)
    for name in ("ws", "wss"):
        with_paho.over_web_socket(brooklet, name, authority)
        mqtt_js(brooklet, name, authority)


# Each with a broker of its own, and the settings that it needs.
CHECKS = [
    (with_mosquitto.exchanges, guarded), (with_mosquitto.sessions, guarded),
    (with_mosquitto.version_5, guarded),
    (with_paho.exchanges, guarded), (with_paho.sessions, guarded), (with_paho.version_5, guarded),
    (with_gmqtt.gmqtt_clients, guarded), (transports, encrypted), (restart.kill_and_restart, guarded),
    (moving.tables_of_former_systems, None),
    (notifications.alarms_by_mail_and_webhook, None),
    (streams.server_sent_events, None), (streams.web_sockets, None), (streams.alarms_and_tickets, None),
    (streams.example, None),
    (http_surface.with_curl, http_surface.closed_with_tls), (http_surface.abuse, http_surface.closed_with_tls),
    (tools.examples, None), (tools.prometheus, None), (tools.openapi_document, None),
    (generated_client.generated_client, tools.with_key), (tools.schemathesis, tools.with_key),
]


def main():
    wanted, passed, failed = sys.argv[4:], 0, 0
    for check, settings in CHECKS:
        name = f"{check.__module__}.{check.__name__}"
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            with Brooklet(settings or (lambda _folder: {})) as brooklet:
                check(brooklet)
            passed += 1
            print(f"{name}: ok", flush=True)
        except Exception as error:  # one failed check must not hide the others
            failed += 1
            detail = getattr(error, "stderr", "") or ""
            print(f"{name}: FAILED: {error!r} {detail[-2000:]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
