"""The preprocessor's side of fetching: places, time, and what becomes of a fetch whose process is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog.testing

from crema.errors import CremaError
from crema.host.channel import Buffer
from preprocessor.fetch import Fetched
from preprocessor.fetcher import Desk
from preprocessor.fetches import Fetches, FetchRules, Place, url_of

URL = "https://store.example/photos/a.jpg?signature=secret"


class FakeChannel:
    """The channel to the fetching process: what was sent on it."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_congested = False
        self.sent: list[tuple[str, int]] = []

    def send(self, header: dict[str, Any], *payload: Buffer) -> None:
        self.sent.append((header["kind"], header["id"]))


class Setting:
    """`Fetches` whose process is played by the test."""

    def __init__(self, places: int = 2) -> None:
        self.fetches = Fetches(FetchRules(["store.example"]), places=places)
        self.channel = FakeChannel()
        self.ended: list[tuple[bytes, str]] = []

    def open(self) -> None:
        self.fetches.channel_opened(self.channel)  # type: ignore[arg-type]

    def begin(self, left_s: float | None = 5.0) -> Place:
        place = self.fetches.enter()
        deadline = None if left_s is None else self.fetches._clock() + left_s
        place.begin(URL, deadline, "r1", self.done)
        return place

    def done(self, image: Buffer, error: CremaError | None) -> None:
        self.ended.append((bytes(image), "ok" if error is None else error.code))

    def answer(self, place: Place, image: bytes = b"", **header: Any) -> None:
        whole = {"v": 1, "kind": "answer", "id": place.number, **header}
        if self.fetches.header_received(self.channel, whole, len(image)):  # type: ignore[arg-type]
            self.fetches.frame_received(self.channel, whole, image)  # type: ignore[arg-type]

    async def until_ended(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.ended) < count:
                await asyncio.sleep(0.005)


def failed(code: str) -> dict[str, Any]:
    error = CremaError(code, "said the process")
    return {
        "status": error.status,
        "error": error.as_wire(),
        "reason": "unreachable",
        "host": "store.example",
    }


async def test_a_fetched_image_gives_its_place_back() -> None:
    setting = Setting()
    setting.open()
    place = setting.begin()
    assert (setting.fetches.pending, setting.channel.sent) == (1, [("fetch", place.number)])
    setting.answer(place, b"photo", status=200, host="store.example")
    assert (setting.ended, setting.fetches.pending) == ([(b"photo", "ok")], 0)


async def test_the_third_of_two_is_told_when_to_come_back() -> None:
    setting = Setting(places=2)
    places = [setting.begin() for _ in range(2)]
    with pytest.raises(CremaError) as caught:
        setting.fetches.enter()
    assert (caught.value.code, caught.value.status, caught.value.retry_after_ms) == ("overloaded", 429, 1000)
    places[0].leave()
    setting.begin().leave()
    places[1].leave()


async def test_switched_off_nothing_is_fetched() -> None:
    with pytest.raises(CremaError) as caught:
        Fetches().enter()
    assert (caught.value.code, caught.value.status) == ("url_fetch_disabled", 422)


@pytest.mark.parametrize("code", ["url_fetch_failed", "unsupported_media_type", "image_too_large"])
async def test_what_the_process_says_is_wrong_is_passed_on(code: str) -> None:
    setting = Setting()
    setting.open()
    setting.answer(setting.begin(), **failed(code))
    assert setting.ended == [(b"", code)]


async def test_the_caller_s_deadline_ends_a_fetch_with_504() -> None:
    setting = Setting()
    setting.open()
    place = setting.begin(left_s=0.02)
    await setting.until_ended(1)
    assert (setting.ended, setting.fetches.pending) == ([(b"", "deadline_exceeded")], 0)
    assert setting.channel.sent == [("fetch", place.number), ("cancel", place.number)]
    setting.answer(place, b"photo", status=200)
    assert len(setting.ended) == 1


async def test_a_fetch_that_is_left_is_cancelled_and_not_answered() -> None:
    setting = Setting()
    setting.open()
    place = setting.begin()
    place.leave()
    place.leave()
    setting.answer(place, b"photo", status=200)
    assert setting.channel.sent == [("fetch", place.number), ("cancel", place.number)]
    assert (setting.ended, setting.fetches.pending) == ([], 0)


async def test_what_begins_before_the_process_is_there_waits_for_it() -> None:
    setting = Setting()
    place, left = setting.begin(), setting.begin()
    left.leave()
    assert setting.channel.sent == []
    setting.open()
    assert setting.channel.sent == [("fetch", place.number)]
    place.leave()


class OnePhoto:
    """Stands in for the fetch itself."""

    async def image(self, url: str) -> Fetched:
        return Fetched(bytearray(b"photo"), "store.example", 0)


async def test_the_process_sends_no_image_while_the_one_before_is_on_its_way() -> None:
    """Many large ones at once would look like a peer that does not read, and cost the whole channel."""
    desk, channel = Desk(OnePhoto()), FakeChannel()  # type: ignore[arg-type]
    channel.is_congested = True
    for number in range(3):
        desk.header_received(channel, {"kind": "fetch", "id": number, "url": URL}, 0)  # type: ignore[arg-type]
    for _ in range(10):
        await asyncio.sleep(0)
    assert channel.sent == [("answer", 0)]
    channel.is_congested = False
    async with asyncio.timeout(5):
        while len(channel.sent) < 3:
            await asyncio.sleep(0.001)


async def test_a_log_names_the_host_and_the_outcome_and_never_the_url() -> None:
    setting = Setting()
    setting.open()
    with structlog.testing.capture_logs() as events:
        setting.answer(setting.begin(), b"photo", status=200, host="store.example")
        setting.answer(setting.begin(), **failed("url_fetch_failed"))
        setting.begin(left_s=0.001)
        await setting.until_ended(3)
    told = [(event["event"], event["code"], event.get("host"), event.get("reason")) for event in events]
    assert told == [
        ("url_fetch", "ok", "store.example", None),
        ("url_fetch", "url_fetch_failed", "store.example", "unreachable"),
        ("url_fetch", "deadline_exceeded", None, "deadline"),
    ]
    assert not any(part in str(events) for part in ("secret", "photos", "https:"))


@pytest.mark.parametrize(
    ("header", "payload_bytes"),
    [
        ({"url": 5}, 0),
        ({"url": ""}, 0),
        ({"url": "x" * 8193}, 0),
        ({"url": b"http://x/"}, 0),
        ({"url": URL}, 1),
    ],
)
def test_a_frame_with_no_proper_url_is_refused(header: dict[str, Any], payload_bytes: int) -> None:
    with pytest.raises(CremaError) as caught:
        url_of(header, payload_bytes)
    assert caught.value.code == "invalid_request"


def test_a_frame_without_a_url_carries_its_image() -> None:
    assert (url_of({}, 10), url_of({"url": None}, 10), url_of({"url": URL}, 0)) == (None, None, URL)
