"""Gate: bounded admission, by count and by predicted time. A permit for n places, or a refusal that says when to return.

Pure: `now` and what waits are arguments. It never queues, never waits and never looks at pixels; it decides on what
the header says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from crema.names import Lane
from minion.cost_curve import CostCurve

Reason = Literal["full", "deadline", "draining", "bulk"]

# Deviations that are kept clear before a deadline. By the book 2.33 would let one of a hundred be late; what the deviation
# is, is an estimate too, and under overload everyone is admitted at the very limit.
_CONFIDENCE: Final = 4.0
# So many stay clear even where the next batch may then not be filled; but never more than half of the time there is.
_LEAST_CONFIDENCE: Final = 2.0
# Over how many full batches the rate of arrivals is averaged, and how many deviations more than a batch have to be expected.
_RATE_BATCHES: Final = 4.0
_FILL_DEVIATIONS: Final = 0.5
# By how many deviations of a batch's time the running one may end early and find the next one full all the same.
_EARLY_DEVIATIONS: Final = 0.5
# For how long bulk keeps out of the way of an interactive queue that was there, in seconds (to 1/e of it).
_MEMORY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no permit, in one closed word and in words for people, and in how many seconds to come back."""

    reason: Reason
    message: str
    retry_after_s: float


class Gate:
    """`places` items at most, waiting or running, and none that could not be answered within `slo_s` seconds.

    Whoever enters must `leave` with the same number of places, once, before the answer is written.

    The lanes: interactive may have every place. Bulk gets what interactive leaves: it comes in while half of the places,
    and a batch's worth besides as many as interactive items lately waited, would still be free; and always while less than
    a batch is here, because then the next batch has room.
    """

    def __init__(self, places: int, slo_s: float, curve: CostCurve) -> None:
        self.places = places
        self.pending = 0
        """Places taken."""
        self.workers = 1
        """How many workers share the queue: it moves that many times as quickly."""
        self.is_draining = False
        self._slo_s = slo_s
        self._curve = curve
        self._queue = 0.0
        self._queue_seen_at = 0.0
        # interactive items that wanted in lately, each counting less the longer ago it came
        self._wanted = 0.0
        self._wanted_seen_at = 0.0

    def enter(
        self,
        now: float,
        n: int,
        lane: Lane,
        remaining_s: float,
        *,
        ahead: int,
        waiting: int,
        free_at: float | None,
    ) -> Refusal | None:
        """Take `n` places, or say why not.

        `remaining_s` is the caller's budget (infinite without one); `ahead` counts the items that go first, of any
        shape, and `waiting` all that wait; `free_at` is when a worker should be free, None when one is.
        A request is admitted or refused as a whole.
        """
        if self.is_draining:
            return Refusal(
                "draining", "this minion is shutting down; send the request to another replica", 1.0
            )
        if lane == "interactive":
            self._want(now, n)
            self._queue = max(ahead + n, self._lately_queued(now))
            self._queue_seen_at = now
        if self.pending + n > self.places:
            needed = f"{self.pending} of {self.places} places taken" + (f", {n} needed" if n > 1 else "")
            return Refusal("full", f"{needed}; come back later", self._drain_s(now, waiting, free_at))
        if lane == "bulk" and self.pending and self.pending + n > (most := self.bulk_places(now)):
            message = (
                f"{self.pending} places taken, and bulk may fill {most} of the {self.places} now: "
                "the others are kept for interactive requests; come back later"
            )
            return Refusal("bulk", message, self._drain_s(now, waiting, free_at))
        # an idle minion always tries: a curve that is wrong must not refuse for ever
        if waiting or free_at is not None:
            allowed = remaining_s
            if lane == "interactive" and allowed > self._slo_s:
                allowed = self._slo_s
            finish_s = self.finish_s(now, ahead + n - 1, free_at)
            # far from the limit nobody needs to know how far
            most_s = self._most_margin_s(ahead + n - 1)
            if (
                finish_s + most_s > allowed
                and finish_s + self._margin_s(allowed, ahead + n - 1, free_at) > allowed
            ):
                message = (
                    f"the answer would take about {finish_s * 1000:.0f} ms, {allowed * 1000:.0f} ms are allowed; "
                    "come back later"
                )
                return Refusal("deadline", message, self._drain_s(now, waiting, free_at))
        self.pending += n
        return None

    def leave(self, n: int) -> None:
        """Give `n` places back."""
        self.pending -= n
        if self.pending < 0:
            raise AssertionError("more places were given back than taken; this is a bug of ours")

    def take_back(self, n: int, lane: Lane) -> None:
        """It was only asked whether `n` items could come in."""
        self.leave(n)
        if lane == "interactive":
            self._wanted -= n

    def bulk_places(self, now: float) -> int:
        """Up to how many places, those of interactive items included, may be taken for bulk still to come in."""
        limit, places = self._curve.batch_limit * self.workers, self.places
        kept = limit + round(self._lately_queued(now))
        # a flood would take whatever it may, long before it is known how many interactive items come at once
        kept = max(kept, places - places // 2)
        return max(min(limit, places - places // 2), places - kept)

    def wait_s(self, now: float, ahead: int, free_at: float | None) -> float:
        """Predicted seconds until the batch of an item begins that has `ahead` items before it."""
        rest = 0.0 if free_at is None or free_at < now else free_at - now
        limit = self._curve.batch_limit
        if ahead < limit:
            return rest
        return rest + (ahead // limit) * self._curve.predict(limit) / self.workers

    def finish_s(self, now: float, ahead: int, free_at: float | None) -> float:
        """Predicted seconds until that item is answered, its own batch taken as full: later arrivals will fill it."""
        return self.wait_s(now, ahead, free_at) + self._curve.predict(self._curve.batch_limit)

    def _lately_queued(self, now: float) -> float:
        """How many interactive items wanted to wait at once, lately."""
        return self._queue * math.exp(min(0.0, self._queue_seen_at - now) / _MEMORY_S)

    def _most_margin_s(self, ahead: int) -> float:
        """`_margin_s` is never more than this."""
        curve = self._curve
        limit = curve.batch_limit
        full_s = curve.fixed_s + curve.per_item_s * limit
        return _CONFIDENCE * curve.feared_overrun * full_s * (ahead // limit + 2)

    def _margin_s(self, allowed_s: float, ahead: int, free_at: float | None) -> float:
        """How much longer it may well take than predicted: under overload everyone is admitted at the very limit.

        Beyond the least that is kept clear, only so much that the next batch can still be filled from what arrives while its
        time is near enough to let somebody in: a model whose times scatter answers some too late, but it stays busy.
        """
        curve = self._curve
        limit = curve.batch_limit
        full_s = curve.predict(limit)
        wait_s = allowed_s - full_s
        if wait_s <= 0:
            return 0.0
        off_s = full_s * math.sqrt(ahead // limit / self.workers + (1 if free_at is None else 2))
        fill_s = self._fill_s(limit, full_s) + _EARLY_DEVIATIONS * curve.overrun * full_s
        spare_s = wait_s - min(full_s, fill_s)
        least_s = min(_LEAST_CONFIDENCE * curve.overrun * off_s, wait_s / 2)
        return max(least_s, min(_CONFIDENCE * curve.feared_overrun * off_s, spare_s))

    def _want(self, now: float, n: int) -> None:
        """`n` interactive items want in, whatever becomes of them."""
        curve = self._curve
        memory_s = _RATE_BATCHES * (curve.fixed_s + curve.per_item_s * curve.batch_limit)
        if memory_s > 0:
            self._wanted = n + self._wanted * math.exp((self._wanted_seen_at - now) / memory_s)
        else:
            self._wanted = float(n)
        self._wanted_seen_at = now

    def _fill_s(self, limit: int, full_s: float) -> float:
        """In how many seconds as many interactive items arrive as a full batch takes, at the rate of late; rather too many
        seconds."""
        return (limit + _FILL_DEVIATIONS * math.sqrt(limit)) * _RATE_BATCHES * full_s / max(1.0, self._wanted)

    def _drain_s(self, now: float, waiting: int, free_at: float | None) -> float:
        """Predicted seconds until nothing waits or runs any more."""
        rest = 0.0 if free_at is None else max(0.0, free_at - now)
        limit = self._curve.batch_limit
        return rest + math.ceil(waiting / limit) * self._curve.predict(limit) / self.workers
