"""terminate: soft or hard, to the client's own origin."""

from typing import Any

import pytest

from jamsocket_lite import ConfigurationError
from kit.calls import sent
from kit.deadlines import LONG
from kit.platforms import ID, Api, Cluster
from kit.server import Server

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_terminate_says_how(api: Api) -> None:
    for hard in (False, True):
        request = sent(api, lambda client: client.terminate(ID, hard=hard))[0]
        assert request.target == api.terminate_target(hard)
        assert request.body == b"" if api.plane else request.json() == {"hard": hard}
    assert sent(api, lambda client: client.terminate(ID))[0].target == api.terminate_target()


@pytest.mark.parametrize("hard", ["no", "", 0, 1, None])
def test_what_is_not_true_or_false_ends_nothing(api: Api, hard: Any) -> None:
    with Server(api.service()) as server:
        with pytest.raises(TypeError, match="hard must be True or False"):
            api.client(server.url).terminate(ID, hard=hard)
        assert server.requests == []


def test_terminate_goes_to_the_clients_own_origin(api: Api) -> None:
    """A status url elsewhere must not have the token sent there."""
    with Server(api.service()) as elsewhere, Server(api.service()) as server:
        for backend in (api.connected(elsewhere.url), elsewhere.url + api.status_target()):
            try:
                api.client(server.url).terminate(backend)
            except ConfigurationError:
                continue
            assert server.requests[-1].target == api.terminate_target()
        assert elsewhere.connections == 0


def test_terminate_gives_nothing(api: Api) -> None:
    with Server(api.service()) as server:
        result: Any = api.client(server.url).terminate(ID)
        assert result is None


@pytest.mark.parametrize("hard, kind", [(False, "soft"), (True, "hard")])
def test_terminate_ends_a_real_backend(cluster: Cluster, hard: bool, kind: str) -> None:
    client = cluster.client()
    connected = cluster.spawn()
    client.terminate(connected, hard=hard)
    last = list(client.status_stream(connected, timeout=LONG))[-1]
    assert (last.status, last.termination_reason, last.termination_kind) == ("terminated",
                                                                             "external", kind)
