"""The cold job on urllib.request."""

import json
import sys
import time
from urllib.request import Request, urlopen

base = sys.argv[1]
context = None
if base.startswith("https:"):
    import ssl

    context = ssl.create_default_context()


def call(request: Request) -> dict:  # type: ignore[type-arg]
    with urlopen(request, timeout=30, context=context) as response:
        if response.status != 200:
            raise SystemExit("HTTP %d" % response.status)
        document = json.loads(response.read())
    if type(document) is not dict:
        raise SystemExit("not an object")
    return document


accept = {"Accept": "application/json"}
connected = call(Request(base + "/v2/service/acme/whiteboard/connect", json.dumps({"key": "board/42"}).encode("ascii"),
                         dict(accept, **{"Authorization": "Bearer secret", "Content-Type": "application/json"})))
while call(Request(connected["status_url"], None, accept))["status"] != "ready":
    time.sleep(0.5)
