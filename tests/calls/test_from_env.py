"""Clients and functions by the environment."""

from types import MappingProxyType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, Jamsocket, ProtocolError
from kit.secrets import TOKEN
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")


def environment(**names: str) -> Dict[str, str]:
    return {"JAMSOCKET_" + name: value for name, value in names.items()}


CREDENTIALS = environment(ACCOUNT="acme", SERVICE="board/staging", TOKEN=TOKEN)


def seen(make: Callable[[Server], Any]) -> Tuple[str, Optional[str]]:
    """Target and credentials of what a client sends."""
    with Server([answer({})]) as server:
        with pytest.raises(ProtocolError):
            client = make(server)
            if client is not None:
                client.connect()
        return server.requests[0].target, server.requests[0].header("Authorization")


STAGING = ("/v2/service/acme/board/staging/connect", "Bearer " + TOKEN)
DEV = ("/v2/service/-/-/connect", "Bearer -")


def variables(server: Server, **more: str) -> Dict[str, str]:
    return {**CREDENTIALS, **environment(API_URL=server.url, **more)}


@pytest.mark.parametrize("more, expected", [
    ({}, STAGING), ({"DEV": "false"}, STAGING), ({"DEV": ""}, STAGING), ({"DEV": "true"}, DEV),
])
def test_from_env_reads_the_environment(more: Mapping[str, str], expected: Tuple[str, str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def given(server: Server) -> Jamsocket:
        return Jamsocket.from_env(MappingProxyType(variables(server, DEV_PORT=str(server.port),
                                                             **more)))

    def in_environ(server: Server) -> Jamsocket:
        for name, value in variables(server, DEV_PORT=str(server.port), **more).items():
            monkeypatch.setenv(name, value)
        return Jamsocket.from_env()

    assert seen(given) == seen(in_environ) == expected


def test_from_env_in_dev_mode_needs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(lambda server: Jamsocket.from_env(environment(DEV="true",
                                                              DEV_PORT=str(server.port)))) == DEV
    assert "8080" in repr(Jamsocket.from_env(environment(DEV="true")))
    assert "8080" in repr(Jamsocket.from_env(environment(DEV="true", DEV_PORT="")))


def test_from_env_goes_to_the_platform_by_default() -> None:
    for more in ({}, environment(API_URL="")):
        assert "https://api.jamsocket.com" in repr(Jamsocket.from_env({**CREDENTIALS, **more}))


def test_a_mapping_stands_in_for_the_whole_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="JAMSOCKET_ACCOUNT"):
        Jamsocket.from_env({})


@pytest.mark.parametrize("env, named", [
    ({}, "JAMSOCKET_ACCOUNT"),
    ({**CREDENTIALS, **environment(TOKEN="")}, "JAMSOCKET_TOKEN"),
    ({name: CREDENTIALS[name] for name in ("JAMSOCKET_ACCOUNT", "JAMSOCKET_TOKEN")},
     "JAMSOCKET_SERVICE"),
    (environment(DEV="true", DEV_PORT="http"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="0"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="65536"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="-1"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="8080.0"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="9" * 5000), "(?i)port"),
    ({**CREDENTIALS, **environment(API_URL="ftp://h.test")}, ""),
    ({**CREDENTIALS, **environment(TOKEN="a b")}, "token"),
], ids=["nothing", "empty token", "no service", "word", "0", "65536", "negative", "fraction",
        "long", "url", "token"])
def test_a_malformed_environment_is_refused_by_name(env: Mapping[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named or None) as caught:
        Jamsocket.from_env(env)
    assert TOKEN not in str(caught.value)


def test_the_function_connects_by_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(ACCOUNT="other", SERVICE="other", TOKEN="other",
                                   API_URL="http://h.test").items():
        monkeypatch.setenv(name, value)
    assert seen(lambda server: jamsocket_lite.connect(account="acme", service="board/staging",
                                                      token=TOKEN, api_url=server.url)
                and None) == STAGING
    assert seen(lambda server: jamsocket_lite.connect(dev=True, port=server.port) and None) == DEV


def test_the_function_connects_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_environment(server: Server) -> None:
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        jamsocket_lite.connect({"key": "k"})

    assert seen(by_environment) == STAGING


def test_the_function_needs_all_credentials_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them from here and half from there would be somebody else's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="token"):
        jamsocket_lite.connect(account="acme", service="board")
    monkeypatch.delenv("JAMSOCKET_TOKEN")
    with pytest.raises(ConfigurationError, match="JAMSOCKET_TOKEN"):
        jamsocket_lite.connect()
