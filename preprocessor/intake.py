"""The channel's side of the tier: `preprocess` frames in, tensors or an error out.

Everything that can be refused is refused from the frame's header, before the image is kept. The intake reads headers
and counts places; pixels are the pool's business.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from crema import wire
from crema.errors import CremaError
from crema.host.channel import Buffer, Channel
from crema.host.channel_lost import ChannelLost
from crema.names import LANES, Lane, OptionalFormat
from preprocessor.cost import work_of
from preprocessor.decode_budget import decode_budget_ms
from preprocessor.fetches import Fetches, Place, url_of
from preprocessor.gate import Gate, Overloaded, Permit
from preprocessor.header import check_bytes, read_header
from preprocessor.meters import Meters
from preprocessor.order import Order, Orders
from preprocessor.pool import Job, Pool

NOT_READY_RETRY_MS: Final = 500

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """One admitted request on one channel."""

    channel: Channel
    frame_id: int
    order: Order
    permit: Permit | Place
    lane: Lane
    arrived_at: float
    deadline: float | None
    request_id: str
    traceparent: str | None
    job: Job | None = None
    fetch_ms: float = 0.0


class Intake:
    """The receiver of every channel that coordinators open."""

    def __init__(
        self,
        pool: Pool,
        gate: Gate,
        meters: Meters,
        *,
        formats: Collection[OptionalFormat] = (),
        fetches: Fetches | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_draining = False
        self._pool = pool
        self._gate = gate
        self._meters = meters
        self._formats = formats
        self._fetches = fetches or Fetches()
        self._clock = clock
        self._orders = Orders()
        self._tells_images: bool = log.is_enabled_for(logging.DEBUG)
        self._calls: dict[Channel, dict[int, Call]] = {}

    @property
    def is_ready(self) -> bool:
        """Whether a request that came now could be let in."""
        return self._pool.is_ready and not self.is_draining

    @property
    def pending(self) -> int:
        """Requests let in and not yet answered."""
        return self._gate.pending + self._fetches.pending

    # -- the Receiver's side ---------------------------------------------------------------------------------------

    def channel_opened(self, channel: Channel) -> None:
        """A coordinator said hello."""
        self._calls[channel] = {}

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        """Let the request in or refuse it; the image is kept only in the first case."""
        kind, frame_id = header["kind"], header["id"]
        if kind == "preprocess":
            if frame_id in self._calls[channel]:
                channel.abort(wire.WireError(f"the id {frame_id} is in use on this connection"))
                return False
            return self._let_in(channel, header, payload_bytes)
        if kind == "cancel":
            self._cancel(channel, frame_id)
        elif kind not in ("hello", "answer", "error"):
            message = f"a preprocessor answers `preprocess`, not {kind[:40]!r}; check the address"
            self._answer_error(channel, frame_id, CremaError("invalid_request", message))
        return False

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        """The image is here: look at its header, then queue it."""
        call = self._calls[channel].get(header["id"])
        if call is not None:
            self._image_came(call, payload)

    def _image_came(self, call: Call, payload: Buffer) -> None:
        permit = call.permit
        assert isinstance(permit, Permit)
        try:
            work = work_of(read_header(payload, self._formats))
            self._gate.weigh(permit, work, self._left_ms(call.deadline), self._pool.ahead(call.lane, work))
        except CremaError as error:
            self._count_refusal(error, call.lane)
            self._finish(call, error)
            return
        self._meters.accepted(call.lane)
        done = partial(self._job_done, call)
        call.job = Job(
            payload, call.order, work, call.deadline, done, call.request_id, call.traceparent, call.lane
        )
        self._pool.submit(call.job)

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        """The coordinator is gone, and with it everyone who waited for its requests."""
        for call in self._calls.pop(channel, {}).values():
            self._drop(call)

    # -- requests --------------------------------------------------------------------------------------------------

    def _let_in(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        now = self._clock()
        lane: Lane = "interactive"
        try:
            lane = _lane(header.get("lane", "interactive"))
            remaining_ms = _remaining_ms(header.get("remaining_ms"))
            order = self._orders.read(header.get("specs"))
            url = url_of(header, payload_bytes)
            if payload_bytes == 0 and url is None:
                raise CremaError("invalid_request", "the image is empty; send the bytes of an image file")
            check_bytes(payload_bytes)
            self._check_ready()
            deadline = None if remaining_ms is None else now + decode_budget_ms(remaining_ms) / 1000
            permit: Permit | Place = (
                self._gate.enter(now, payload_bytes, lane, self._left_ms(deadline), self._pool.ahead(lane))
                if url is None
                else self._fetches.enter()
            )
        except CremaError as error:
            self._count_refusal(error, lane)
            self._meters.answered(error.status, self._clock() - now)
            self._answer_error(channel, header["id"], error, lane)
            return False
        self._calls[channel][header["id"]] = call = Call(
            channel,
            header["id"],
            order,
            permit,
            lane,
            now,
            deadline,
            request_id=_text(header.get("request_id")) or "",
            traceparent=_text(header.get("traceparent")),
        )
        if url is not None and isinstance(permit, Place):
            permit.begin(url, deadline, call.request_id, partial(self._fetched, call))
            return False
        return True

    def _fetched(self, call: Call, image: Buffer, error: CremaError | None) -> None:
        """The image of a `url` is here, or will not come. Only now it needs a place of the gate."""
        now = self._clock()
        call.fetch_ms = (now - call.arrived_at) * 1000
        self._meters.fetched(call.fetch_ms)
        if error is None:
            try:
                check_bytes(len(image))
                left_ms = self._left_ms(call.deadline)
                call.permit = self._gate.enter(
                    now, len(image), call.lane, left_ms, self._pool.ahead(call.lane)
                )
            except CremaError as refusal:
                self._count_refusal(refusal, call.lane)
                error = refusal
        if error is None:
            self._image_came(call, image)
        else:
            self._finish(call, error)

    def _left_ms(self, deadline: float | None) -> float:
        return math.inf if deadline is None else (deadline - self._clock()) * 1000

    def _count_refusal(self, error: CremaError, lane: Lane) -> None:
        """Only refusals for want of room or for draining are counted."""
        if isinstance(error, Overloaded):
            self._meters.refused(error.reason, lane)
        elif self.is_draining and error.code == "not_ready":
            self._meters.refused("draining", lane)
        elif error.code == "overloaded":
            self._meters.refused("full", lane)

    def _check_ready(self) -> None:
        if self.is_draining:
            message = "this preprocessor is shutting down; send the request to another one"
            raise CremaError("not_ready", message, retry_after_ms=NOT_READY_RETRY_MS)
        if not self._pool.is_ready:
            message = "no decode process is ready yet; send the request again in a moment"
            raise CremaError("not_ready", message, retry_after_ms=NOT_READY_RETRY_MS)

    def _cancel(self, channel: Channel, frame_id: int) -> None:
        call = self._calls[channel].pop(frame_id, None)
        if call is not None:
            self._drop(call)

    def _drop(self, call: Call) -> None:
        call.permit.leave()
        if call.job is not None:
            self._pool.abandon(call.job)
            call.job = None

    def _job_done(self, call: Call, job: Job) -> None:
        self._finish(call, job.error)

    def _finish(self, call: Call, error: CremaError | None) -> None:
        self._calls[call.channel].pop(call.frame_id, None)
        # the place is free before the answer is written: its load must not count itself
        call.permit.leave()
        total_s = self._clock() - call.arrived_at
        if error is not None:
            self._meters.answered(error.status, total_s)
            self._answer_error(call.channel, call.frame_id, error, call.lane)
            return
        # a call and its job hold each other: let go here, or the pixels stay until the garbage collector comes
        job, call.job = call.job, None
        assert job is not None and job.answer is not None and job.started_at is not None
        queue_ms = (job.started_at - call.arrived_at) * 1000 - call.fetch_ms
        stages = job.answer["timing"]
        decode_ms, resize_ms = stages["decode_ms"], stages["resize_ms"]
        timing: dict[str, float] = {
            "queue_ms": queue_ms,
            "decode_ms": decode_ms,
            "resize_ms": resize_ms,
            "total_ms": total_s * 1000,
        }
        if call.fetch_ms:
            timing["fetch_ms"] = call.fetch_ms
        self._meters.answered(200, total_s)
        self._meters.served(queue_ms / 1000, decode_ms / 1000, resize_ms / 1000)
        answer = {
            "v": wire.WIRE_VERSION,
            "kind": "answer",
            "id": call.frame_id,
            "status": 200,
            "image": job.answer["image"],
            "tensors": call.order.tensors,
            "timing": timing,
            "load": self._load(call.lane),
        }
        _send(call.channel, answer, job.pixels)
        if self._tells_images:
            log.debug(
                "preprocessed",
                request_id=call.request_id,
                traceparent=call.traceparent,
                **job.answer["image"],
                **timing,
            )

    def _answer_error(
        self, channel: Channel, frame_id: int, error: CremaError, lane: Lane = "interactive"
    ) -> None:
        answer = {
            "v": wire.WIRE_VERSION,
            "kind": "answer",
            "id": frame_id,
            "status": error.status,
            "error": error.as_wire(),
            "load": self._load(lane),
        }
        if "limit" in error.extra:
            answer["limit"] = error.extra["limit"]
        _send(channel, answer)

    def _load(self, lane: Lane) -> dict[str, Any]:
        return {
            "pending": self._gate.pending,
            "places": self._gate.places,
            "expected_wait_ms": self._pool.expected_wait_ms(lane),
        }


def _send(channel: Channel, header: dict[str, Any], *payload: Buffer) -> None:
    try:  # noqa: SIM105 - once per image, and `suppress` costs as much as four calls
        channel.send(header, *payload)
    except ChannelLost:
        pass  # nobody is there any more; `channel_closed` frees what belonged to them


def _lane(value: Any) -> Lane:
    if value not in LANES:
        raise CremaError("invalid_request", f"lane must be one of {', '.join(LANES)}")
    lane: Lane = value
    return lane


def _text(value: Any) -> str | None:
    """What a log may hold of a header's member."""
    return value[:128] if isinstance(value, str) else None


def _remaining_ms(value: Any) -> float | None:
    """None means no deadline. Raises CremaError for what is not a finite number, and when no time is left."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CremaError("invalid_request", "remaining_ms must be a finite number of milliseconds")
    if value <= 0:
        raise CremaError("deadline_exceeded", "the deadline passed before the image came; allow more time")
    return float(value)
