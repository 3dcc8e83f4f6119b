"""The cold job on requests, with a session, which may keep its connection."""

import sys
import time
from typing import Any

requests: Any = __import__("requests")


def checked(response: Any) -> Any:
    response.raise_for_status()
    document = response.json()
    if type(document) is not dict:
        raise SystemExit("not an object")
    return document


with requests.Session() as session:
    session.headers["Accept"] = "application/json"
    connected = checked(session.post(
        sys.argv[1] + "/v2/service/acme/whiteboard/connect", json={"key": "board/42"},
        headers={"Authorization": "Bearer secret"}, timeout=30))
    while checked(session.get(connected["status_url"], timeout=30))["status"] != "ready":
        time.sleep(0.5)
