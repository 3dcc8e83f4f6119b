"""The cold job by hand on http.client, as little as it can be, on one connection: the floor."""

import json
import sys
import time
from http.client import HTTPConnection, HTTPSConnection

base = sys.argv[1]
host = base.split("/")[2]
if base.startswith("https:"):
    import ssl

    connection: HTTPConnection = HTTPSConnection(host, timeout=30, context=ssl.create_default_context())
else:
    connection = HTTPConnection(host, timeout=30)


def call(method: str, url: str, headers: dict, body: str = "") -> dict:  # type: ignore[type-arg]
    connection.request(method, url[len(base):], body or None, dict(headers, Accept="application/json"))
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit("HTTP %d" % response.status)
    document = json.loads(response.read())
    if type(document) is not dict:
        raise SystemExit("not an object")
    return document


connected = call("POST", base + "/v2/service/acme/whiteboard/connect",
                 {"Authorization": "Bearer secret", "Content-Type": "application/json"},
                 json.dumps({"key": "board/42"}))
while call("GET", connected["status_url"], {})["status"] != "ready":
    time.sleep(0.5)
connection.close()
