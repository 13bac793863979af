"""Sending one photo until it is answered: without waiting, because the wait is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.cli.api import Api, Reply
from crema.cli.send import LONGEST_WAIT_S, may_help, send, wait_s
from tests.crema.cli.api_server import ANSWER, FULL, FakeApi


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    return path


def part(code: str) -> Reply:
    results = {"tags": {"status": "ok"}, "captions": {"status": "error", "error": {"code": code}}}
    return Reply(200, {"status": "partial", "results": results}, 1.0)


def test_a_refused_photo_is_sent_again_after_the_wait_it_was_told(api: FakeApi, photo: Path) -> None:
    told = [(429, FULL, {"Retry-After": "7"}), (200, ANSWER, {})]
    api.tell = lambda _: told.pop(0)  # type: ignore[return-value]
    waits: list[float] = []
    reply = send(Api(api.url, {}), photo, tries=5, wait=waits.append, chance=lambda: 0.0)
    assert (reply.code, waits) == (200, [7.0])


def test_the_number_of_tries_is_bounded(api: FakeApi, photo: Path) -> None:
    api.tell = lambda _: (503, {"code": "not_ready"}, {})
    waits: list[float] = []
    reply = send(Api(api.url, {}), photo, tries=4, wait=waits.append, chance=lambda: 0.0)
    assert (reply.code, len(api.photos), waits) == (503, 4, [0.5, 1.0, 2.0])


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 500, 502, 504])
def test_what_would_fail_again_is_sent_once(api: FakeApi, photo: Path, status: int) -> None:
    api.tell = lambda _: (status, {"code": "x"}, {})
    assert send(Api(api.url, {}), photo, tries=5, wait=pytest.fail).code == status


def test_a_server_that_does_not_answer_is_tried_again_and_then_reported(photo: Path) -> None:
    waits: list[float] = []
    reply = send(Api("http://127.0.0.1:1", {}), photo, tries=2, wait=waits.append)
    assert (reply.code, reply.status, len(waits)) == (0, "failed", 1)


def test_a_file_that_cannot_be_read_is_a_reply_of_its_own(tmp_path: Path) -> None:
    reply = send(Api("http://127.0.0.1:1", {}), tmp_path / "none.jpg", tries=3, wait=pytest.fail)
    assert (reply.code, reply.body["detail"]) == (0, "No such file or directory")


def test_a_wait_that_is_broken_off_ends_the_tries(api: FakeApi, photo: Path) -> None:
    api.tell = lambda _: (429, FULL, {})
    assert send(Api(api.url, {}), photo, tries=5, wait=lambda seconds: True).code == 429
    assert len(api.photos) == 1


def test_only_a_part_that_is_full_is_worth_another_try() -> None:
    assert may_help(part("overloaded"))
    assert not may_help(part("not_ready"))
    assert not may_help(part("model_failed"))


def test_a_wait_is_never_longer_than_the_bound_and_its_jitter() -> None:
    assert wait_s(Reply(429, {}, 3600.0), 1, 1.0) <= LONGEST_WAIT_S * 1.25
    assert wait_s(Reply(429, {}, None), 30, 1.0) <= LONGEST_WAIT_S * 1.25
