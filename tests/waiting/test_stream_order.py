"""Each state once, in the lifecycle's order, across reconnections, until the last."""

import pytest

from kit.deadlines import LONG
from kit.platforms import ID, LIFE, Api
from kit.server import Server, Silence, event, stream_head
from kit.streams import END, heard, listen, word

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.waits]


def test_each_state_is_yielded_once_in_the_lifecycles_order(api: Api) -> None:
    told = ["loading", "scheduled", "loading", "ready", "ready", "waiting", "starting",
            "terminating", "ready", "terminated"]
    found = listen(api, [stream_head(), *map(word, told)])
    assert found.statuses == ["loading", "ready", "terminating", "terminated"]


def test_a_replay_after_a_reconnection_is_not_yielded_again(api: Api) -> None:
    replay = b"".join(map(word, LIFE[:3]))
    later = b"".join(map(word, LIFE)) + word("terminating") + END
    found = listen(api, [stream_head(), replay], [stream_head(), replay], [stream_head(), later])
    assert found.statuses == LIFE + ["terminating", "terminated"] and len(found.requests) == 3


def test_states_from_the_future_are_yielded_once_each(api: Api) -> None:
    assert heard(api, word("hibernating") + word("waking") + word("hibernating"), word("waking")
                 + word("ready")) == [
        "hibernating", "waking", "ready"]


def test_a_reason_from_the_future_is_kept(api: Api) -> None:
    last = {"status": "terminated", "time": "t", "termination_reason": "bored",
            "termination_kind": "gentle"}
    with Server(api.channels([stream_head(), event(last)])) as server:
        [state] = api.client(server.url).status_stream(ID, timeout=LONG)
    assert state.to_dict() == last


def test_the_stream_ends_at_terminated_though_the_connection_does_not(api: Api) -> None:
    found = listen(api, [stream_head(), word("ready") + END + word("no"), Silence()])
    assert found.statuses == ["ready", "terminated"] and len(found.requests) == 1
