"""Api: one photo there and one reply back."""

from __future__ import annotations

import pytest

from crema.cli.api import Api, Unreachable
from tests.crema.cli.api_server import ANSWER, FULL, FakeApi


def test_a_photo_is_sent_as_it_is_with_the_options_in_the_query(api: FakeApi) -> None:
    reply = Api(api.url, {"models": "tags@3,captions", "lane": "bulk"}).analyze(b"\xff\xd8photo")
    assert (reply.code, reply.body, reply.status) == (200, ANSWER, "ok")
    assert api.photos == [b"\xff\xd8photo"]
    assert api.queries == [{"models": ["tags@3,captions"], "lane": ["bulk"]}]


def test_a_refusal_carries_when_to_come_back(api: FakeApi) -> None:
    api.tell = lambda photo: (429, FULL, {"Retry-After": "3"})
    reply = Api(api.url, {}).analyze(b"x")
    assert (reply.code, reply.status, reply.retry_after_s) == (429, "failed", 3.0)


def test_one_connection_is_kept_for_many_photos(api: FakeApi) -> None:
    client = Api(api.url, {})
    for _ in range(3):
        client.analyze(b"x")
    assert len(api.connections) == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(api: FakeApi) -> None:
    client = Api(api.url, {})
    api.tell = lambda photo: (200, ANSWER, {"Connection": "close"})
    assert client.analyze(b"x").code == 200
    assert client.analyze(b"x").code == 200


def test_nothing_at_the_address_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 does not answer"):
        Api("http://127.0.0.1:1", {}).analyze(b"x")


def test_what_answers_but_is_no_api_is_said_so(api: FakeApi) -> None:
    api.tell = lambda photo: (200, b"<html>", {})
    reply = Api(api.url, {}).analyze(b"x")
    assert (reply.code, reply.status) == (502, "failed")
    assert "<html>" in reply.body["detail"]


def test_an_address_without_a_scheme_is_http() -> None:
    assert Api("127.0.0.1:8000", {}).url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("url", ["ftp://x", "http://", "file:///etc/passwd"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Api(url, {})
