"""The README's programs that serve a web page: where they lie, and their servers as they run.

    with serving(page.Page) as server:
        server.answer()         # the JSON that the page is given
"""

import html.parser
import http.client
import http.server
import json
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import pytest

from kit.deadlines import LONG
from kit.readme import block

__all__ = ["SCRIPT", "programs", "Serving", "serving", "connected", "states"]

SCRIPT = "console.log('the bundled page')"


def programs(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The README's page.py and relay.py in a folder, which becomes the current one."""
    for name in ("page", "relay"):
        (folder / (name + ".py")).write_text(block("python " + name), encoding="utf-8")
        patch.delitem(sys.modules, name, raising=False)
    (folder / "page.js").write_text(SCRIPT, encoding="utf-8")
    patch.syspath_prepend(str(folder))
    patch.chdir(folder)


class Serving(NamedTuple):
    """A program's server. `threads` have handled a request each, `writes` are all they wrote."""

    port: int
    threads: "List[threading.Thread]"
    writes: List[bytes]

    def get(self, path: str = "/") -> str:
        with self.open(path) as answer:
            return str(answer.read().decode())

    def open(self, path: str = "/") -> Any:
        return urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.port, path), timeout=LONG)

    def failed(self, path: str) -> int:
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.get(path)
        caught.value.close()
        return caught.value.code

    def answer(self) -> Dict[str, Any]:
        """What the page is given."""
        return connected(self.get())

    @contextmanager
    def stream(self, status_url: str) -> Iterator[http.client.HTTPResponse]:
        """As the page's library asks for it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.request("GET", status_url + "/stream?a1b2c3}")
            with connection.getresponse() as answer:
                assert answer.getheader("Content-Type") == "text/event-stream"
                yield answer
        finally:
            connection.close()


@contextmanager
def serving(handler: Any) -> Iterator[Serving]:
    threads: "List[threading.Thread]" = []
    writes: List[bytes] = []

    class Observed(handler):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            threads.append(threading.current_thread())
            write = self.wfile.write

            def observed(data: bytes) -> int:
                writes.append(bytes(data))
                return int(write(data))

            self.wfile.write = observed

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Observed) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Serving(server.server_address[1], threads, writes)
        finally:
            server.shutdown()
            thread.join()


class Reader(html.parser.HTMLParser):
    """What stands in the page's script element, as a browser reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self._inside = tag == "script" and dict(attributes).get("id") == "connect-response"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data


def connected(text: str) -> Dict[str, Any]:
    reader = Reader()
    reader.feed(text)
    document = json.loads(reader.data)
    assert isinstance(document, dict)
    return document


def states(answer: http.client.HTTPResponse, until: Optional[str] = None) -> List[Dict[str, Any]]:
    """The stream's states up to that one, or to its end, read as the page's library reads it."""
    found = []
    for line in answer:
        # Any other line is a warning on the page's console.
        assert line.strip() == b"" or line.startswith(b"data:"), line
        if line.strip():
            found.append(json.loads(line[len(b"data:"):].decode()))
            if found[-1]["status"] == until:
                break
    return found
