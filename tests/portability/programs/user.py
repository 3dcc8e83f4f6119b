"""What a program does with the file that was copied beside it, in every place that the tests put it
to."""

import json
import sys
import typing


def use(jamsocket_lite, url, token, key):
    """Connects, waits, uses the url and terminates; what came of it, for JSON."""
    client = jamsocket_lite.Jamsocket("acme", "whiteboard", token, api_url=url)
    connected = client.connect(jamsocket_lite.ConnectRequest(key=key, user="ada"), timeout=30)
    seen = []
    ready = client.wait_until_ready(connected, timeout=30,
                                    on_status=lambda state: seen.append(state.status))
    said = get(connected.url)
    client.terminate(connected, hard=True, timeout=30)
    spec = getattr(jamsocket_lite, "__spec__", None)
    return {"backend": connected.backend_id, "spawned": connected.spawned, "ready": ready.status,
            "seen": seen, "said": said, "refusals": refusals(jamsocket_lite),
            "hints": hints(jamsocket_lite), "origin": spec and spec.origin}


def report(*arguments):
    print(json.dumps(use(*arguments)))


def get(url):
    """A page, over a socket: http.client would want more of a poor Python than the client does."""
    import socket

    _, _, address, path = url.split("/", 3)
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 30) as sock:
        sock.sendall(("GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n" % (path, address)).encode("ascii"))
        answer = b""
        while True:
            data = sock.recv(4096)
            if not data:
                return answer.partition(b"\r\n\r\n")[2].decode("utf-8")
            answer += data


def hints(jamsocket_lite):
    """The types' fields, as tools find them that read annotations. They need the module in
    sys.modules."""
    if sys.modules.get(jamsocket_lite.__name__) is not jamsocket_lite:
        return None
    types = ("ResourceLimits", "Executable", "SpawnConfig", "ConnectRequest", "ConnectResponse",
             "BackendState")
    return {name: [field for field in typing.get_type_hints(getattr(jamsocket_lite, name))
                   if field[0] != "_"]
            for name in types}


def refusals(jamsocket_lite):
    """What is refused, and how: the same everywhere."""
    lite = jamsocket_lite
    calls = [
        lambda: lite.ConnectRequest(key=""),
        lambda: lite.ConnectRequest.from_dict({"spawn": {"executable": {"env": {"PORT": "1"}}}}),
        lambda: lite.ConnectRequest.from_dict({"kye": "a"}),
        lambda: lite.ConnectRequest.from_dict({b"key": "a"}),
        lambda: lite.SpawnConfig(max_idle_seconds=True),
        lambda: lite.BackendState.from_dict({"status": "redy", "time": ""}),
        lambda: lite.Jamsocket(),
        lambda: lite.Jamsocket("a", "b", "c\n"),
        lambda: lite.Jamsocket("a", "b", b"c"),
        lambda: lite.Jamsocket(b"a", "b", "c"),
        lambda: lite.Executable(env={"a": b"b"}),
        lambda: lite.Jamsocket("a", "b", "c", timeout=0),
        lambda: lite.Jamsocket("a", "b", "c").status("..", timeout=1),
        lambda: lite.wait_until_ready("file:///etc/passwd"),
    ]
    texts = []
    for call in calls:
        try:
            texts.append("accepted: %s" % call())
        except lite.JamsocketError as error:
            texts.append("%s: %s" % (type(error).__name__, error))
    return texts
