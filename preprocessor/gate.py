"""Bounded admission in front of the decode pool: by places, by bytes, and by predicted work. A permit, or `overloaded`.

Pure: `now` and what is ahead are arguments. It decides twice: on a frame's header, before the image is kept (places,
bytes, lanes, what waits already), and once the image is here on what its own header claims (`weigh`: its pixels, a JPEG
in several passes charged four times).
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

from crema.errors import CremaError
from crema.names import Lane
from preprocessor.cost import DecodeCost

Reason = Literal["full", "deadline", "bulk"]

# Images that wait are held in memory; this many bytes of them at most.
MAX_PENDING_BYTES: Final = 512 * 1024 * 1024
# An interactive image that would be ready later than this is refused, however long its caller would wait: the models
# come after it, and the next caller is served by what frees up.
MOST_MS: Final = 2000.0
# A caller that is told to come back sooner than this only adds to the load.
LEAST_RETRY_AFTER_MS: Final = 50.0
# Deviations that are kept clear before a deadline: one of a hundred takes longer.
_CONFIDENCE: Final = 2.33
# For how long bulk keeps out of the way of an interactive queue that was there, in seconds (to 1/e of it).
_MEMORY_S: Final = 10.0


class Ahead(NamedTuple):
    """What stands before a newcomer of one lane: how many images wait and go first, when it would begin, and when nothing
    at all would wait or run any more (milliseconds from now)."""

    images: int = 0
    wait_ms: float = 0.0
    drain_ms: float = 0.0


class Overloaded(CremaError):
    """Refused for want of room: `reason` says of which kind."""

    def __init__(self, reason: Reason, message: str, drain_ms: float) -> None:
        super().__init__(
            "overloaded",
            f"{message}; come back after `retry_after_ms`",
            retry_after_ms=max(LEAST_RETRY_AFTER_MS, drain_ms),
        )
        self.reason = reason


class Permit:
    """One place, until `leave` is called. Leaving twice is leaving once."""

    __slots__ = ("_gate", "lane", "nbytes")

    def __init__(self, gate: Gate, nbytes: int, lane: Lane) -> None:
        self._gate: Gate | None = gate
        self.nbytes = nbytes
        self.lane: Lane = lane

    def leave(self) -> None:
        """Give the place back."""
        if self._gate is not None:
            self._gate.give_back(self)
            self._gate = None


class Gate:
    """`places` images may be pending (waiting or being decoded) at once, and none that could not be ready in time.

    The lanes: interactive may have every place. Bulk gets what interactive leaves: it comes in while as many places as
    there are decoders, and as many as interactive images lately waited, would still be free; and always while fewer are
    here than there are decoders.
    """

    def __init__(
        self, places: int, workers: int, cost: DecodeCost, max_bytes: int = MAX_PENDING_BYTES
    ) -> None:
        self.places = places
        self.pending = 0
        self.pending_bytes = 0
        self._workers = workers
        self._cost = cost
        self._max_bytes = max_bytes
        self._queue = 0.0
        self._queue_seen_at = 0.0

    def enter(self, now: float, nbytes: int, lane: Lane, remaining_ms: float, ahead: Ahead) -> Permit:
        """A permit for an image of `nbytes`, of which nothing else is known yet. The caller owes it a `leave`.

        `remaining_ms` is what preprocessing may take (infinite without a deadline). Raises Overloaded.
        """
        if lane == "interactive":
            self._queue = max(ahead.images + 1, self._lately_queued(now))
            self._queue_seen_at = now
        if self.pending >= self.places:
            message = f"{self.pending} of {self.places} places taken in the preprocessor"
            raise Overloaded("full", message, ahead.drain_ms)
        if self.pending and self.pending_bytes + nbytes > self._max_bytes:
            message = f"the images that wait in the preprocessor fill its {self._max_bytes} bytes"
            raise Overloaded("full", message, ahead.drain_ms)
        if lane == "bulk" and self.pending and self.pending >= (most := self.bulk_places(now)):
            message = (
                f"{self.pending} places taken in the preprocessor, and bulk may fill {most} of the {self.places} now:"
                " the others are kept for interactive requests"
            )
            raise Overloaded("bulk", message, ahead.drain_ms)
        self._check_time(0.0, lane, remaining_ms, ahead)
        self.pending += 1
        self.pending_bytes += nbytes
        return Permit(self, nbytes, lane)

    def weigh(self, permit: Permit, work: float, remaining_ms: float, ahead: Ahead) -> None:
        """Now that its work is known: may the image stay? Raises Overloaded; the permit is then still to be given back."""
        self._check_time(self._cost.predict_ms(work), permit.lane, remaining_ms, ahead)

    def give_back(self, permit: Permit) -> None:
        """A permit is over; called by the permit itself."""
        self.pending -= 1
        self.pending_bytes -= permit.nbytes

    def bulk_places(self, now: float) -> int:
        """Up to how many places, those of interactive images included, may be taken for bulk still to come in."""
        kept = self._workers + round(self._lately_queued(now))
        return max(min(self._workers, self.places - self.places // 2), self.places - kept)

    def _check_time(self, own_ms: float, lane: Lane, remaining_ms: float, ahead: Ahead) -> None:
        # with a decoder free for it it is always tried: a price that is wrong must not refuse for ever
        if ahead.wait_ms <= 0:
            return
        allowed_ms = min(remaining_ms, MOST_MS) if lane == "interactive" else remaining_ms
        finish_ms = ahead.wait_ms + own_ms
        # deviations of several decodes one after another partly cancel out
        margin = _CONFIDENCE * self._cost.overrun / math.sqrt(1 + ahead.images / self._workers)
        if finish_ms * (1 + min(1.0, margin)) > allowed_ms:
            message = f"the image would be ready in about {finish_ms:.0f} ms, {max(0.0, allowed_ms):.0f} ms are allowed for it"
            raise Overloaded("deadline", message, ahead.drain_ms)

    def _lately_queued(self, now: float) -> float:
        """How many interactive images wanted to wait at once, lately."""
        return self._queue * math.exp(min(0.0, self._queue_seen_at - now) / _MEMORY_S)
