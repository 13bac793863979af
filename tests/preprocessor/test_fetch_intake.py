"""The intake with a `url` in place of an image: what is refused at once, whose place is held when, what an answer says."""

from __future__ import annotations

from typing import Any

import pytest

from crema.errors import CremaError
from crema.host.metrics import Metrics
from preprocessor.fetches import Fetches, FetchRules
from preprocessor.gate import Gate
from preprocessor.intake import Intake
from preprocessor.meters import Meters
from preprocessor.pool import Job
from tests.preprocessor import image_files as f
from tests.preprocessor.test_intake import SPEC, FakeChannel, FakePool

PHOTO = f.jpeg()
URL = "https://store.example/a.jpg"
RULES = FetchRules(["store.example"])


class Setting:
    """An intake that may fetch (or not); the process that fetches is played by the test."""

    def __init__(self, rules: FetchRules | None = RULES, places: int = 1) -> None:
        self.now = 100.0
        self.fetches = Fetches(rules, clock=lambda: self.now)
        self.pool, self.channel, self.metrics = FakePool(), FakeChannel(), Metrics()
        self.meters = Meters(self.metrics)
        self.gate = Gate(places, 1, self.pool.cost)
        self.intake = Intake(
            self.pool,
            self.gate,
            self.meters,
            fetches=self.fetches,
            clock=lambda: self.now,  # type: ignore[arg-type]
        )
        self.intake.channel_opened(self.channel)  # type: ignore[arg-type]

    def ask(self, frame_id: int = 1, payload_bytes: int = 0, **more: Any) -> bool:
        header = {"v": 1, "kind": "preprocess", "id": frame_id, "specs": [SPEC], "url": URL, **more}
        return self.intake.header_received(self.channel, header, payload_bytes)  # type: ignore[arg-type]

    def came(self, image: bytes = b"", error: CremaError | None = None) -> None:
        """The first fetch under way ends."""
        place = next(iter(self.fetches._entered.values()))
        self.fetches._done(place, image, error)

    def told(self) -> str:
        code: str = self.channel.sent[-1][0]["error"]["code"]
        return code


async def test_a_url_is_fetched_then_decoded_and_the_answer_says_how_long_each_took() -> None:
    setting = Setting()
    assert not setting.ask(7, remaining_ms=5000)  # there is no payload to keep
    setting.now += 0.5
    setting.came(PHOTO)
    [job] = setting.pool.jobs
    assert (bytes(job.image), job.deadline) == (PHOTO, pytest.approx(104.75))
    setting.now += 0.25
    finish(setting, job)
    header = setting.channel.sent[0][0]
    assert (header["id"], header["status"], header["image"]["bytes"]) == (7, 200, len(PHOTO))
    assert (header["timing"]["fetch_ms"], header["timing"]["queue_ms"]) == (500.0, 250.0)
    assert setting.intake.pending == 0
    setting.meters.fold()
    assert b'crema_preprocess_seconds_count{stage="fetch"} 1.0' in setting.metrics.render()


def finish(setting: Setting, job: Job) -> None:
    job.started_at, job.pixels = setting.now, bytes(24)
    image = {"format": "jpeg", "width": 96, "height": 64, "bytes": len(PHOTO)}
    job.answer = {"status": 200, "image": image, "timing": {"decode_ms": 3.0, "resize_ms": 1.0}}
    job.on_done(job)


async def test_a_fetch_holds_no_place_of_the_gate_until_its_image_is_here() -> None:
    setting = Setting(places=1)
    for frame_id in range(3):
        setting.ask(frame_id)
    assert (setting.gate.pending, setting.intake.pending) == (0, 3)
    setting.came(PHOTO)
    assert (setting.gate.pending, setting.intake.pending) == (1, 3)
    setting.came(PHOTO)
    assert (setting.told(), setting.channel.sent[-1][0]["status"]) == ("overloaded", 429)
    setting.intake.channel_closed(setting.channel, None)  # type: ignore[arg-type]
    assert (setting.gate.pending, setting.intake.pending) == (0, 0)


async def test_switched_off_a_url_is_refused() -> None:
    setting = Setting(rules=None)
    setting.ask()
    assert (setting.told(), setting.intake.pending) == ("url_fetch_disabled", 0)


async def test_fetches_have_their_own_limit() -> None:
    setting = Setting()
    for frame_id in range(17):
        setting.ask(frame_id)
    assert (setting.told(), setting.channel.sent[-1][0]["status"], setting.intake.pending) == (
        "overloaded",
        429,
        16,
    )
    setting.intake.channel_closed(setting.channel, None)  # type: ignore[arg-type]
    assert setting.intake.pending == 0


async def test_a_cancelled_fetch_is_not_answered() -> None:
    setting = Setting()
    setting.ask(5)
    setting.intake.header_received(setting.channel, {"v": 1, "kind": "cancel", "id": 5}, 0)  # type: ignore[arg-type]
    assert (setting.intake.pending, setting.channel.sent) == (0, [])


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"II*\0" + bytes(40), "unsupported_media_type"),
        (f.flat_webp(12000, 12000), "image_too_large"),
        (bytes(20 * 1024 * 1024 + 1), "image_too_large"),
        (PHOTO[:30], "undecodable_image"),
    ],
)
async def test_a_fetched_image_is_judged_as_any_other(image: bytes, code: str) -> None:
    setting = Setting()
    setting.ask()
    setting.came(image)
    assert (setting.told(), setting.pool.jobs, setting.intake.pending) == (code, [], 0)


async def test_too_many_bytes_and_too_many_pixels_are_told_apart() -> None:
    setting = Setting()
    setting.ask(1)
    setting.came(bytes(20 * 1024 * 1024 + 1))
    setting.ask(2)
    setting.came(f.flat_webp(12000, 12000))
    assert [list(header["limit"]) for header, _ in setting.channel.sent] == [["bytes"], ["pixels"]]


@pytest.mark.parametrize("wrong", [{"url": 5}, {"url": ""}, {"payload_bytes": 10}, {"remaining_ms": 0}])
async def test_what_is_wrong_with_a_frame_is_told_before_anything_is_fetched(wrong: dict[str, Any]) -> None:
    setting = Setting()
    assert not setting.ask(**wrong)
    assert setting.told() in ("invalid_request", "deadline_exceeded")
    assert setting.intake.pending == 0
