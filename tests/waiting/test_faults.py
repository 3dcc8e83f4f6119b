"""What passes by itself a wait and a stream go on through; what will not pass ends them at once."""

import time
from typing import Dict, Sequence

import pytest

from jamsocket_lite import (AuthenticationError, HTTPError, JamsocketError, JamsocketTimeout,
                            NetworkError, ProtocolError)
from kit.calls import Call, first
from kit.certificates import Certificates
from kit.deadlines import LONG, at_most, timed
from kit.platforms import ID, Api, channels, client, in_turn, state, streamed, told
from kit.scenarios import FAILS, HANGS, Scenario, check, flaky, refusing
from kit.secrets import BACKEND_TOKEN, READY_PATH, SECRET_TOKEN, URL_PATH, failure, look_over
from kit.server import Close, Reset, Script, Server, Silence, Step, answer, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")


PASSING: Dict[str, Sequence[Step]] = {
    "closed at once": [],
    "cut head": [b"HTTP/1.1 200 OK\r\nContent-"],
    "empty stream": [stream_head()],
    "500": [answer(b"", 500)], "502": [answer(b"<html>", 502)], "503": [answer(b"", 503)],
    "504": [answer(b"", 504)],
    "429": [answer(b"", 429)], "429 for a moment": [answer(b"", 429, [("Retry-After", "0.1")])],
    "404 of a newborn": [answer(b"", 404)],
}


@pytest.mark.waits
@pytest.mark.parametrize("trouble", PASSING)
def test_a_wait_goes_on_through_what_passes(api: Api, trouble: str) -> None:
    with Server(flaky(api, PASSING[trouble])) as server:
        assert api.client(server.url).wait_until_ready(ID, timeout=LONG).is_ready
        assert server.wait_closed(LONG)


@pytest.mark.waits
@pytest.mark.parametrize("trouble", PASSING)
def test_a_stream_goes_on_through_what_passes(api: Api, trouble: str) -> None:
    with Server(flaky(api, PASSING[trouble])) as server:
        assert first(api.client(server.url).status_stream(ID, timeout=LONG)).is_ready
        assert server.wait_closed(LONG)


FINAL: Dict[str, Sequence[Step]] = {
    "401": [answer(b"", 401)], "403": [answer(b"", 403)], "400": [answer(b"", 400)],
    "410": [answer(b"", 410)],
    "redirect": [answer(b"", 302, [("Location", "/")])],
    "308": [answer(b"", 308, [("Location", "http://h.test/")])],
}


@pytest.mark.parametrize("trouble", FINAL)
@pytest.mark.parametrize("kind", ["wait", "stream"])
def test_what_will_not_pass_ends_them_at_once(api: Api, kind: str, trouble: str) -> None:
    with Server(FINAL[trouble]) as server:
        client = api.client(server.url)
        with pytest.raises(JamsocketError) as caught, at_most(5.0):
            if kind == "wait":
                client.wait_until_ready(ID, timeout=LONG)
            else:
                list(client.status_stream(ID, timeout=LONG))
        assert server.wait_closed(LONG)
    error = caught.value
    assert isinstance(error, AuthenticationError) == (trouble in ("401", "403"))
    if trouble in ("400", "401", "403", "410"):
        assert isinstance(error, HTTPError) and str(error.status) == trouble
    else:
        assert isinstance(error, ProtocolError)


ALIKE: Dict[str, Scenario] = {  # a wait and a stream end alike
    "400": Scenario(refusing(400), refusing(400), HTTPError, 2.0),
    "401": Scenario(refusing(401), refusing(401), AuthenticationError, 2.0),
    "403": Scenario(refusing(403), refusing(403), AuthenticationError, 2.0),
    "407": Scenario(refusing(407), refusing(407), AuthenticationError, 2.0),
    "405": Scenario(refusing(405), refusing(405), HTTPError, 2.0),
    "410": Scenario(refusing(410), refusing(410), HTTPError, 2.0),
    "422 after a while": Scenario(in_turn(FAILS, refusing(422)), in_turn(FAILS, refusing(422)),
                                  HTTPError, 8.0),
    "a redirect": Scenario([answer(b"", 302, [("Location", "/")])],
                           [answer(b"", 307, [("Location", "/")])], ProtocolError, 2.0),
    "a redirect to a file": Scenario([answer(b"", 301, [("Location", "file:///etc/passwd")])] * 2,
                                     [answer(b"", 301, [("Location", "file:///etc/passwd")])],
                                     ProtocolError, 2.0),
    "never answered, status 404": Scenario(HANGS, refusing(404), HTTPError, 6.0, least=1.9),
    "no event, status 404": Scenario([stream_head(), Silence()], refusing(404), HTTPError, 6.0,
                                     least=1.9),
    "404 on both": Scenario(refusing(404), refusing(404), HTTPError, 6.0, least=1.9),
    "empty at once, status 404": Scenario([stream_head()], refusing(404), HTTPError, 6.0,
                                          least=1.9),
    "silence, status 401": Scenario([stream_head(), Silence()], refusing(401), AuthenticationError,
                                    3.0),  # What passes by itself does not pass here.
    "never there": Scenario([Close()], [Reset()], JamsocketTimeout, 2.0, 1.2),
    "500 on both": Scenario(FAILS, FAILS, JamsocketTimeout, 2.0, 1.2),
    "429 until after the deadline": Scenario(refusing(429, Retry_After="3600"),
                                             refusing(429, Retry_After="3600"), JamsocketTimeout,
                                             2.0, 1.2),
}


@pytest.mark.waits
@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("kind", ["wait", "stream"])
def test_what_will_not_pass_ends_a_wait_and_a_stream_and_nothing_else_does(kind: str,
                                                                           name: str) -> None:
    outcome = check(kind, name, ALIKE[name])
    if isinstance(outcome.result, HTTPError):
        assert str(outcome.result.status) in name


@pytest.mark.parametrize("which", ["self-signed", "expired", "wrong-host", "unknown-ca"])
def test_a_certificate_that_is_refused_ends_a_wait_and_a_stream_at_once(
        which: str, lasting: Call, certificates: Certificates) -> None:
    with Server(tls=certificates.server_context(which)) as server:
        with at_most(3.0):
            failure(lambda: lasting(server.url, LONG, ssl_context=certificates.client_context()),
                    NetworkError)
        assert not server.requests and server.connections <= 2


@pytest.mark.waits
@pytest.mark.parametrize("kind", ["wait", "stream"])
def test_a_404_is_believed_after_two_seconds(api: Api, kind: str) -> None:
    """Until then it may be a backend about to exist."""
    with Server([answer(b"", 404)]) as server:
        client, start = api.client(server.url), time.monotonic()
        with pytest.raises(HTTPError) as caught, at_most(10.0):
            if kind == "wait":
                client.wait_until_ready(ID, timeout=LONG)
            else:
                list(client.status_stream(ID, timeout=LONG))
        assert caught.value.status == 404 and time.monotonic() - start > 1.9


KNOWN = (BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH)
EVERYTHING = "; ".join(KNOWN)
HOSTILE: Dict[str, Script] = {
    **{"as an error of status %d" % status: [answer(EVERYTHING.encode(), status)]
       for status in (400, 401, 500)},
    **{"as a state: " + secret[:4]: channels([streamed(secret), Silence()], HANGS)
       for secret in KNOWN},
    **{"as a status: " + secret[:4]: channels(HANGS, told(secret)) for secret in KNOWN},
    **{"as a reason: " + secret[:4]: channels([
        stream_head() + event(state("terminating", termination_reason=secret)),
        event(state("terminated"))], HANGS) for secret in KNOWN},
    "as a type": channels([answer(b"{}", 200, [("Content-Type", EVERYTHING)])], FAILS),
    "as a place": [answer(b"", 302, [("Location", "http://%s@x/%s" % (BACKEND_TOKEN, URL_PATH))])],
    "as an answer": [answer(EVERYTHING.encode())],
}


@pytest.mark.waits
@pytest.mark.parametrize("weather", HOSTILE)
def test_no_error_of_a_wait_or_a_stream_shows_a_secret_that_the_server_repeats(
        weather: str, lasting: Call) -> None:
    """Also not as a state, a reason, or a trouble that the deadline's error tells of."""
    with Server(HOSTILE[weather]) as server:
        outcome = timed(lambda: lasting(server.url, 0.4)).outcome
        if isinstance(outcome, BaseException):
            look_over(outcome)
