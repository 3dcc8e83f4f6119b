"""The image that Plane is told to run: with the tag, or the digest, that a request asks for."""

from typing import Any, Dict

import pytest

from jamsocket_lite import Plane
from kit.platforms import PLANE
from kit.server import Server

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "fedcba9876543210" * 4


def image_sent(image: str, tag: str) -> Any:
    with Server(PLANE.service()) as server:
        Plane(server.url, image=image).connect({"spawn": {"tag": tag}})
        document: Dict[str, Any] = server.requests[0].json()
    return document["spawn_config"]["executable"]["image"]


@pytest.mark.parametrize(
    "image",
    [
        "a/b",
        "a/b:1",
        "a/b@" + OTHER,
        "a/b:1@" + OTHER,
        "localhost:5000/a/b",
        "localhost:5000/a/b:1",
        "localhost:5000/a/b:1@" + OTHER,
    ],
)
def test_a_digest_as_the_tag_pins_the_image(image: str) -> None:
    """`a/b:sha256:…` is no image that any registry knows."""
    name = "localhost:5000/a/b" if image.startswith("localhost") else "a/b"
    assert image_sent(image, DIGEST) == name + "@" + DIGEST


@pytest.mark.parametrize("tag", ["sha256", "sha256-1", "sha512_x", "v1.2"])
def test_a_tag_that_only_resembles_a_digest_is_a_tag(tag: str) -> None:
    assert image_sent("a/b:1", tag) == "a/b:" + tag
