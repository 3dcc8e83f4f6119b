"""The cold job by hand on urllib.request, and the imports that types and JSON take: the floor."""

import dataclasses
import json
import sys
import time
import typing
import urllib.request

base = sys.argv[1]
context = None
if base.startswith("https:"):
    import ssl

    context = ssl.create_default_context()


def call(request: urllib.request.Request) -> dict:  # type: ignore[type-arg]
    with urllib.request.urlopen(request, timeout=30, context=context) as response:
        if response.status != 200:
            raise SystemExit("HTTP %d" % response.status)
        document = json.loads(response.read())
    if type(document) is not dict:
        raise SystemExit("not an object")
    return document


connected = call(urllib.request.Request(
    base + "/v2/service/acme/whiteboard/connect", json.dumps({"key": "board/42"}).encode("ascii"),
    {"Accept": "application/json", "Authorization": "Bearer secret",
     "Content-Type": "application/json"}))
status = urllib.request.Request(connected["status_url"], None, {"Accept": "application/json"})
while call(status)["status"] != "ready":
    time.sleep(0.5)
