#!/usr/bin/env python3
"""Reads devices, latest readings, a page of history and statistics; standard library only.

    python3 examples/read_api.py [http://127.0.0.1:8080] [API_KEY]
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
KEY = sys.argv[2] if len(sys.argv) > 2 else None


def get(path, **parameters):
    url = f"{BASE}{path}?{urllib.parse.urlencode(parameters)}"
    request = urllib.request.Request(url, headers={"X-API-Key": KEY} if KEY else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def pages(path, **parameters):
    """Every item of a list, page by page."""
    while True:
        page = get(path, **parameters)
        yield from page["items"]
        if "next_cursor" not in page:
            return
        parameters["cursor"] = page["next_cursor"]


def main():
    for device in pages("/api/devices"):
        state = "online" if device["online"] else "offline"
        print(f"{device['device']} ({device['kind']}, {state})")
        for reading in get("/api/data/latest", device_id=device["device"])["items"]:
            value = "no value" if reading["value"] is None else reading["value"]
            print(f"  {reading['sensor']:<14} {value} {reading.get('unit', '')}"
                  f"  {reading['event_time']}  {reading['quality']}")
    print("\nthe newest five readings")
    for reading in get("/api/data/history", limit=5)["items"]:
        print(f"  {reading['event_time']}  {reading['device']}/{reading['sensor']} = {reading['value']}")
    print("\nthe last day")
    for statistics in get("/api/data/statistics")["items"]:
        if statistics["count"]:
            print(f"  {statistics['device']}/{statistics['sensor']}: {statistics['count']} readings,"
                  f" {statistics.get('min')} to {statistics.get('max')}, mean {statistics.get('mean')}")


def refusal(error):
    """What the server says of a request that it did not answer, in a sentence."""
    try:
        said = json.load(error)
        detail = said.get("detail") or said.get("title")
    except ValueError:
        detail = error.reason
    return f"{BASE} answered {error.code}: {detail}"


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except urllib.error.HTTPError as error:
        sys.exit(refusal(error))
    except BrokenPipeError:
        # Whoever reads has had enough; nothing is left to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.exit(f"{BASE} can't be reached: {getattr(error, 'reason', error)}")
    except KeyboardInterrupt:
        pass
