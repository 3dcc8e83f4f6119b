"""What the benchmark measures inside of a process.

    python3 inside.py PART ARGUMENT…        # prints the figures as JSON
"""

import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.request
from typing import Any, Callable, Dict, List, Tuple

import jamsocket_lite
from jamsocket_lite import BackendState, ConnectResponse, Jamsocket, JamsocketTimeout

REQUEST = {"key": "board/42"}
DOCUMENTS: Dict[str, Dict[str, Any]] = {
    "ConnectResponse": {
        "backend_id": "o32yhwwj29z3vz", "spawned": True, "status": "scheduled", "token": "t" * 43,
        "url": "https://j-whiteboard.jamsocket.run/" + "t" * 43 + "/", "secret_token": "s" * 43,
        "status_url": "https://api.jamsocket.com/v2/backend/o32yhwwj29z3vz/status",
        "ready_url": "https://api.jamsocket.com/v2/ready/o32yhwwj29z3vz/" + "t" * 43,
    },
    "BackendState": {"status": "ready", "time": "2026-11-23T22:46:13.368Z"},
}
ROUNDS = 21


def client(base: str) -> Jamsocket:
    return Jamsocket("acme", "whiteboard", "secret", api_url=base)


def status_url(base: str, backend: str) -> str:
    return "%s/v2/backend/%s/status" % (base, backend)


def rate(call: Callable[[], object], seconds: float) -> Tuple[float, float]:
    """Calls per second, and microseconds of our own processor time a call."""
    count, worked, begun = 0, time.process_time(), time.perf_counter()
    while True:
        call()
        count += 1
        elapsed = time.perf_counter() - begun
        if elapsed >= seconds:
            return count / elapsed, (time.process_time() - worked) / count * 1e6


def fetched(request: urllib.request.Request, context: Any) -> Any:
    with urllib.request.urlopen(request, timeout=60, context=context) as response:
        if response.status != 200:
            raise RuntimeError("HTTP %d" % response.status)
        return json.loads(response.read())


def warm(base: str) -> object:
    """Rates of connect and of the same call by urlopen, round by round."""
    ours = client(base)
    context = ssl.create_default_context() if base.startswith("https:") else None
    headers = {"Authorization": "Bearer secret", "Content-Type": "application/json",
               "Accept": "application/json"}
    url = base + "/v2/service/acme/whiteboard/connect"

    def by_urllib() -> object:
        body = json.dumps(REQUEST).encode("ascii")
        return fetched(urllib.request.Request(url, body, headers), context)

    def by_us() -> object:
        return ours.connect(REQUEST)

    rate(by_us, 0.1), rate(by_urllib, 0.1)  # to be warm
    return [(rate(by_us, 0.1), rate(by_urllib, 0.1)) for _ in range(ROUNDS)]


def readiness(base: str, runs: str) -> object:
    """Seconds from a backend's `ready` to the return of a wait, and those of a status call."""
    waited: List[float] = []
    call: List[float] = []
    for _ in range(int(runs) + 1):
        moment = time.monotonic() + 0.1
        url = status_url(base, "at-%d" % (moment * 1e6))
        jamsocket_lite.wait_until_ready(url, timeout=30)
        returned = time.monotonic()
        client(base).status(url)
        waited.append(returned - moment)
        call.append(time.monotonic() - returned)
    return {"waited": waited[1:], "call": call[1:]}  # the first one was cold


def repeat(name: str, what: str, count: str) -> object:
    """Nothing but the work, for a count of instructions."""
    kind = getattr(jamsocket_lite, name)
    document, text = DOCUMENTS[name], json.dumps(DOCUMENTS[name])
    instance = kind.from_dict(document)
    calls: Dict[str, Callable[[], object]] = {
        "loads": lambda: json.loads(text), "from_dict": lambda: kind.from_dict(document),
        "to_dict": lambda: instance.to_dict(), "nothing": lambda: None}
    for _ in range(int(count)):
        calls[what]()
    return None


def stream(base: str, count: str) -> object:
    """Seconds for a stream of so many events, of our reader and of one by hand, round by round."""
    url = status_url(base, "events-" + count)

    def ours() -> None:
        last = [state.status for state in client(base).status_stream(url)][-1]
        if last != "terminated":
            raise RuntimeError("the stream ended early")

    def by_hand() -> None:
        connection = http.client.HTTPConnection(base.split("/")[2], timeout=60)
        connection.request("GET", url[len(base):] + "/stream")
        for line in connection.getresponse():
            if line.startswith(b"data:") and json.loads(line[5:])["status"] == "terminated":
                connection.close()
                return
        raise RuntimeError("the stream ended early")

    def timed(work: Callable[[], None]) -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return [(timed(ours), timed(by_hand)) for _ in range(3)]


def comments(base: str, count: str) -> object:
    """What a stream of so many comments takes: KiB by which the process grows, and seconds."""
    states = client(base).status_stream(status_url(base, "comments-" + count))
    next(states)
    before, begun = memory("VmRSS"), time.perf_counter()
    if [state.status for state in states] != ["terminated"]:
        raise RuntimeError("the stream ended early")
    return {"seconds": time.perf_counter() - begun, "kib": memory("VmHWM") - before}


def memory(field: str) -> int:
    """This process's memory in KiB: VmRSS is now, VmHWM the most so far."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field))
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most


def waiting(base: str, how: str, threads: str, seconds: str) -> object:
    """What so many threads cost that wait: with our client, by polling, or for nothing at all."""
    url = status_url(base, "idle")
    under_way, never = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        try:
            jamsocket_lite.wait_until_ready(url, timeout=float(seconds) + 60,
                                            on_status=lambda _: under_way.release())
        except JamsocketTimeout:
            pass

    def poll() -> None:
        while fetched(urllib.request.Request(url), None)["status"] != "ready":
            under_way.release()
            time.sleep(0.5)

    def rest() -> None:
        under_way.release()
        never.wait()

    work = {"ours": wait, "polling": poll, "nothing": rest}[how]
    fetched(urllib.request.Request(url), None)
    client(base).status(url)  # what is imported late is no thread's
    before = memory("VmRSS")
    for _ in range(int(threads)):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(int(threads)):
        under_way.acquire()
    time.sleep(1)  # the beginning is not the waiting
    worked = time.process_time()
    time.sleep(float(seconds))
    return {"cpu": (time.process_time() - worked) / float(seconds),
            "kib": (memory("VmRSS") - before) / int(threads)}


def main() -> None:
    parts: List[Callable[..., object]] = [warm, readiness, repeat, stream, comments, waiting]
    chosen = next(part for part in parts if part.__name__ == sys.argv[1])
    print(json.dumps(chosen(*sys.argv[2:])), flush=True)
    os._exit(0)  # without waiting for whoever waits


if __name__ == "__main__":
    main()
