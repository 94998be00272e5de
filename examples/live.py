#!/usr/bin/env python3
"""Shows what happens, as it happens: readings, presence, alarms. Comes back by itself when the
connection breaks, and loses nothing. Standard library only.

    python3 examples/live.py [http://127.0.0.1:8080] [QUERY, such as devices=boiler-1] [API_KEY]
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
QUERY = sys.argv[2] if len(sys.argv) > 2 else ""
KEY = sys.argv[3] if len(sys.argv) > 3 else None
# Brooklet says something every 30 seconds: who hears nothing for longer has lost it.
SILENCE = 70


def blocks(response):
    """The blocks of a text/event-stream, each as {field: value}."""
    block = {}
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            block[name] = value
        else:
            yield block
            block = {}


class ReaderGone(Exception):
    """Whoever reads what is printed has had enough."""


def show(told):
    try:
        show_line(told)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def show_line(told):
    kind = told["type"]
    if kind == "sensor_data":
        data = told["data"]
        print(data["event_time"], f"{data['device']}/{data['sensor']} = {data['value']} {data.get('unit', '')}")
    elif kind == "alarm":
        event, alarm = told["event"], told["alarm"]
        print(event["at"], f"{event['kind']}: {alarm['rule']['name']} ({event['severity']}), {alarm['device']}",
              event.get("note", ""))
    elif kind == "presence":
        print(told["at"], told["device"], "online" if told["online"] else "offline")
    elif kind == "gap":
        print(f"({told['missed'] or 'many'} are missing here)")


def refusal(error):
    """What the server says of a request that it did not answer, in a sentence."""
    try:
        said = json.load(error)
        detail = said.get("detail") or said.get("title")
    except ValueError:
        detail = error.reason
    return f"{BASE} answered {error.code}: {detail}"


def main():
    last = None
    while True:
        headers = {"X-API-Key": KEY} if KEY else {}
        if last:
            headers["Last-Event-ID"] = last
        try:
            request = urllib.request.Request(f"{BASE}/api/stream?{QUERY}", headers=headers)
            with urllib.request.urlopen(request, timeout=SILENCE) as response:
                for block in blocks(response):
                    last = block.get("id", last)
                    if "data" in block:
                        show(json.loads(block["data"]))
        except urllib.error.HTTPError as error:
            # It is there, and busy: that passes. All else is for whoever started this.
            if error.code not in (429, 503):
                sys.exit(refusal(error))
            print(f"({refusal(error)}; trying again)", file=sys.stderr)
        except (OSError, http.client.HTTPException) as error:
            print(f"({error}; trying again)", file=sys.stderr)
        time.sleep(1)


try:
    main()
except KeyboardInterrupt:
    pass
except ReaderGone:
    # Nothing is left to be flushed to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
