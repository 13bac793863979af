"""The intake: what is refused from the header, what an answer says, and whose place is given back when."""

from __future__ import annotations

from typing import Any

import pytest

from crema.errors import CremaError
from crema.host.metrics import Metrics
from crema.names import Lane
from preprocessor.cost import DecodeCost
from preprocessor.decode_budget import decode_budget_ms
from preprocessor.gate import Ahead, Gate
from preprocessor.intake import Intake
from preprocessor.meters import Meters
from preprocessor.pool import Job
from tests.preprocessor import image_files as f

PHOTO = f.jpeg()
SPEC = {"size": [4, 2], "fit": "cover", "filter": "bilinear"}


class FakePool:
    def __init__(self) -> None:
        self.is_ready = True
        self.jobs: list[Job] = []
        self.abandoned: list[Job] = []
        self.cost = DecodeCost()
        self.waits = 0

    def ahead(self, lane: Lane, work: float = 0.0) -> Ahead:
        return Ahead(self.waits, 120.0 if self.waits else 0.0, 120.0)

    def expected_wait_ms(self, lane: Lane) -> float:
        return 120.0

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def abandon(self, job: Job) -> None:
        self.abandoned.append(job)


class FakeChannel:
    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], bytes]] = []
        self.error: Exception | None = None

    def send(self, header: dict[str, Any], *payload: bytes) -> None:
        self.sent.append((header, b"".join(payload)))

    def abort(self, error: Exception) -> None:
        self.error = error


class Setting:
    """An intake with everything around it faked; the clock stands where the test puts it."""

    def __init__(self, places: int = 2) -> None:
        self.now = 100.0
        self.pool, self.channel, self.metrics = FakePool(), FakeChannel(), Metrics()
        self.gate = Gate(places, 1, self.pool.cost)
        self.meters = Meters(self.metrics)
        self.intake = Intake(self.pool, self.gate, self.meters, clock=lambda: self.now)  # type: ignore[arg-type]
        self.intake.channel_opened(self.channel)  # type: ignore[arg-type]

    def ask(self, frame_id: int = 1, image: bytes = PHOTO, **more: Any) -> bool:
        header = {"v": 1, "kind": "preprocess", "id": frame_id, "specs": [SPEC], **more}
        kept = self.intake.header_received(self.channel, header, len(image))  # type: ignore[arg-type]
        if kept:
            self.intake.frame_received(self.channel, header, image)  # type: ignore[arg-type]
        return kept

    def say(self, kind: str, frame_id: int) -> None:
        self.intake.header_received(self.channel, {"v": 1, "kind": kind, "id": frame_id}, 0)  # type: ignore[arg-type]

    def finish(self, job: Job, pixels: bytes = bytes(24), error: CremaError | None = None) -> None:
        job.started_at = self.now
        job.pixels, job.error = pixels, error
        image = {"format": "jpeg", "width": 96, "height": 64, "bytes": len(PHOTO)}
        job.answer = {"status": 200, "image": image, "timing": {"decode_ms": 3.0, "resize_ms": 1.0}}
        job.on_done(job)

    def refusal(self) -> dict[str, Any]:
        header, payload = self.channel.sent[-1]
        assert not payload and header["status"] == self.channel.sent[-1][0]["status"]
        error: dict[str, Any] = header["error"]
        return error

    def counted(self, sample: str) -> float:
        self.meters.fold()
        return next(
            (
                float(line.rsplit(" ", 1)[1])
                for line in self.metrics.render().decode().splitlines()
                if line.startswith(sample)
            ),
            0.0,
        )


def test_an_answer_has_the_image_the_tensors_the_times_and_the_load() -> None:
    setting = Setting()
    assert setting.ask(7)
    setting.now += 0.5
    setting.finish(setting.pool.jobs[0])
    header, pixels = setting.channel.sent[0]
    assert (header["v"], header["kind"], header["id"], header["status"]) == (1, "answer", 7, 200)
    assert header["image"] == {"format": "jpeg", "width": 96, "height": 64, "bytes": len(PHOTO)}
    assert header["tensors"] == [{"shape": [2, 4, 3], "dtype": "uint8"}]
    assert header["timing"] == {"queue_ms": 500.0, "decode_ms": 3.0, "resize_ms": 1.0, "total_ms": 500.0}
    assert header["load"] == {"pending": 0, "places": 2, "expected_wait_ms": 120.0}
    assert pixels == bytes(24)


def test_one_photo_and_three_specs_are_one_decode() -> None:
    setting = Setting()
    setting.ask(specs=[SPEC, SPEC, {"size": [1, 1]}])
    assert len(setting.pool.jobs) == 1
    setting.finish(setting.pool.jobs[0], bytes(24 + 24 + 3))
    assert len(setting.channel.sent[0][0]["tensors"]) == 3
    assert setting.counted('crema_preprocess_seconds_count{stage="decode"}') == 1


def test_the_third_of_two_is_refused_from_its_header_with_a_time_to_come_back() -> None:
    setting = Setting(places=2)
    assert setting.ask(1) and setting.ask(2) and not setting.ask(3)
    error = setting.refusal()
    assert (error["code"], error["retryable"], error["retry_after_ms"]) == ("overloaded", True, 120)
    assert setting.channel.sent[-1][0]["load"]["pending"] == 2
    assert setting.counted("crema_refused_total") == 1


def test_images_are_counted_by_lane_and_by_what_the_gate_decided() -> None:
    setting = Setting(places=2)
    assert setting.ask(1, lane="bulk") and setting.ask(2) and not setting.ask(3)
    items = 'crema_items_total{decision="%s",lane="%s",model="",tier="preprocessor"'
    assert setting.counted(items % ("accepted", "interactive")) == 1
    assert setting.counted(items % ("accepted", "bulk")) == 1
    assert setting.counted(items % ("full", "interactive")) == 1


def test_an_image_that_is_refused_for_what_it_is_counts_as_no_item() -> None:
    setting = Setting()
    setting.ask(1, image=b"no image at all")
    setting.ask(2, lane="nobody's")
    counted = [
        line for line in setting.metrics.render().decode().splitlines() if "crema_items_total{" in line
    ]
    assert counted and all(line.endswith(" 0.0") for line in counted)


def test_not_being_ready_yet_is_no_want_of_room() -> None:
    setting = Setting()
    setting.pool.is_ready = False
    setting.ask(1)
    assert setting.counted("crema_refused_total") == 0


def test_a_finished_request_gives_its_place_back() -> None:
    setting = Setting(places=1)
    setting.ask(1)
    setting.finish(setting.pool.jobs[0])
    assert setting.ask(2)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"image": b""}, "invalid_request"),
        ({"image": bytes(20 * 1024 * 1024 + 1)}, "image_too_large"),
        ({"specs": None}, "invalid_request"),
        ({"specs": [{"size": [0, 1]}]}, "invalid_request"),
        ({"lane": "express"}, "invalid_request"),
        ({"lane": ["bulk"]}, "invalid_request"),
        ({"remaining_ms": "soon"}, "invalid_request"),
        ({"remaining_ms": float("nan")}, "invalid_request"),
        ({"remaining_ms": True}, "invalid_request"),
        ({"remaining_ms": 0}, "deadline_exceeded"),
    ],
)
def test_what_is_wrong_with_a_header_is_answered_before_the_image_is_kept(
    more: dict[str, Any], code: str
) -> None:
    setting = Setting()
    assert not setting.ask(**more)
    assert setting.refusal()["code"] == code
    assert setting.gate.pending == 0 and setting.pool.jobs == []


@pytest.mark.parametrize(
    ("image", "code"),
    [(b"II*\x00" + bytes(20), "unsupported_media_type"), (f.flat_webp(12000, 12000), "image_too_large")],
)
def test_what_is_wrong_with_an_image_s_header_takes_no_decoder(image: bytes, code: str) -> None:
    setting = Setting()
    setting.ask(image=image)
    assert setting.refusal()["code"] == code
    assert setting.gate.pending == 0 and setting.pool.jobs == []


def test_an_image_too_dear_for_its_deadline_is_refused_once_its_header_is_read() -> None:
    setting = Setting()
    setting.pool.waits = 1
    assert setting.ask(1, remaining_ms=400)  # a small photo fits behind what waits
    setting.ask(2, image=f.with_frame(f.jpeg(progressive=True), size=(5000, 5000)), remaining_ms=400)
    assert setting.refusal()["code"] == "overloaded" and setting.refusal()["retry_after_ms"] == 120
    assert len(setting.pool.jobs) == 1 and setting.gate.pending == 1
    assert setting.counted('crema_refused_total{lane="interactive",model="",reason="deadline"') == 1


def test_what_waits_already_refuses_from_the_frame_s_header() -> None:
    setting = Setting()
    setting.pool.waits = 1
    assert not setting.ask(1, remaining_ms=200)
    assert setting.refusal()["code"] == "overloaded" and setting.pool.jobs == []


def test_the_lane_travels_with_the_job() -> None:
    setting = Setting()
    setting.ask(1, lane="bulk")
    assert setting.pool.jobs[0].lane == "bulk"


def test_an_error_of_the_decoder_is_passed_on_with_its_status() -> None:
    setting = Setting()
    setting.ask()
    setting.finish(setting.pool.jobs[0], error=CremaError("decode_timeout", "too long"))
    assert setting.channel.sent[-1][0]["status"] == 422 and setting.refusal()["code"] == "decode_timeout"


def test_a_cancelled_request_frees_its_place_and_is_not_answered() -> None:
    setting = Setting()
    setting.ask(5)
    setting.say("cancel", 5)
    setting.say("cancel", 6)
    assert (
        setting.gate.pending == 0
        and setting.pool.abandoned == setting.pool.jobs
        and setting.channel.sent == []
    )


def test_a_closed_channel_abandons_all_its_requests() -> None:
    setting = Setting()
    setting.ask(1)
    setting.ask(2)
    setting.intake.channel_closed(setting.channel, None)  # type: ignore[arg-type]
    assert setting.gate.pending == 0 and len(setting.pool.abandoned) == 2


def test_an_id_used_twice_ends_the_connection() -> None:
    setting = Setting()
    setting.ask(1)
    assert not setting.ask(1)
    assert "in use" in str(setting.channel.error)


def test_another_tier_s_request_is_refused_and_the_connection_lives() -> None:
    setting = Setting()
    setting.say("infer", 9)
    assert setting.refusal()["code"] == "invalid_request" and setting.channel.error is None


def test_before_the_first_decoder_and_while_draining_nothing_is_let_in() -> None:
    setting = Setting()
    setting.pool.is_ready = False
    assert not setting.ask(1) and setting.refusal()["code"] == "not_ready"
    setting.pool.is_ready, setting.intake.is_draining = True, True
    assert not setting.ask(2) and setting.refusal()["retryable"] and not setting.intake.is_ready
    assert setting.counted('crema_refused_total{lane="interactive",model="",reason="draining"') == 1


def test_the_decode_gets_half_of_a_short_deadline_and_all_but_250_ms_of_a_long_one() -> None:
    assert decode_budget_ms(100) == 50
    assert decode_budget_ms(5000) == 4750
    setting = Setting()
    setting.ask(remaining_ms=5000)
    assert setting.pool.jobs[0].deadline == pytest.approx(setting.now + 4.75)


def test_no_remaining_time_given_is_no_deadline() -> None:
    setting = Setting()
    setting.ask()
    assert setting.pool.jobs[0].deadline is None
