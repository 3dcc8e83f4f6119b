"""The cold job on httpx, with a client, which may keep its connection."""

import sys
import time
from typing import Any

httpx: Any = __import__("httpx")


def checked(response: Any) -> Any:
    response.raise_for_status()
    document = response.json()
    if type(document) is not dict:
        raise SystemExit("not an object")
    return document


with httpx.Client(headers={"Accept": "application/json"}, timeout=30) as client:
    connected = checked(client.post(
        sys.argv[1] + "/v2/service/acme/whiteboard/connect", json={"key": "board/42"},
        headers={"Authorization": "Bearer secret"}))
    while checked(client.get(connected["status_url"]))["status"] != "ready":
        time.sleep(0.5)
