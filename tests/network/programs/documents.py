"""What the fakes are told to answer."""

import json

from kit.platforms import JAMSOCKET


def served(url):
    """Method, url, body and content type of all that the three calls ask for."""
    connected = json.dumps(JAMSOCKET.document(url))
    ready = json.dumps(JAMSOCKET.state("ready"))
    events = JAMSOCKET.events("starting", "ready").decode("ascii")
    return [("POST", url + JAMSOCKET.connect_target, connected, "application/json"),
            ("GET", url + JAMSOCKET.status_target("asked"), ready, "application/json"),
            ("GET", url + JAMSOCKET.status_target("awaited"), ready, "application/json"),
            ("GET", url + JAMSOCKET.stream_target("awaited"), events, "text/event-stream")]
