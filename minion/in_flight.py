"""InFlight: the batches that one worker has, when it will be free, and when to hand it the next one: just in time.

Pure: it is told moments and never looks at a clock. A batch that is handed over too early misses what arrives until the
worker is free; one that comes too late leaves the worker idle. How early is early enough is learned.

A full batch misses nothing: it always goes to the worker before that is free, and lies ready there when the one before it
ends. One that is not full does so only for a model that asks for two in flight. A worker that runs two batches at once gets a
full one as soon as it has one batch only.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from minion.cost_curve import CostCurve

# What one batch says about the host's work counts this much.
_WEIGHT: Final = 0.2
# Each batch that came early enough lowers the lead a little: too much lead shows nowhere else.
_DECAY: Final = 0.995
# The lead covers the mean and this many mean deviations: an idle worker is dearer than a missed item.
_DEVIATIONS: Final = 2.0
# A worker that waited less than this found its batch ready: reading the header alone takes some of it.
_UNNOTICED_S: Final = 150e-6
# Full batches that are quicker than this follow one another: a loop's timers are too coarse to be in time for them.
_WORTH_S: Final = 0.005
# Never earlier than this share of a full batch.
_MOST: Final = 0.5


class InFlight:
    """At most `max(2, wanted)` batches at one worker: one that runs and those that lie ready behind it, or run as well when
    it `overlaps` them. `wanted` is the manifest's `in_flight`."""

    def __init__(self, wanted: int, curve: CostCurve, *, overlaps: bool = False) -> None:
        self._depth = max(2, wanted)
        self._is_only_full = wanted < 2
        self._overlaps = overlaps
        self._curve = curve
        self._batches: deque[tuple[float, int]] = deque()
        """When each was handed over, and its size."""
        self._freed_at = 0.0
        self._host_s = self._deviation_s = 0.0

    def __len__(self) -> int:
        """How many batches the worker has."""
        return len(self._batches)

    @property
    def lead_s(self) -> float:
        """How long before the worker is free the next batch has to be handed over, in seconds."""
        most = _MOST * self._curve.predict(self._curve.batch_limit)
        return min(most, self._host_s + _DEVIATIONS * self._deviation_s)

    def handed(self, now: float, n: int) -> None:
        """A batch of `n` items goes to the worker: called when the host begins with it."""
        self._batches.append((now, n))

    def ended(self, now: float, busy_s: float, waited_s: float) -> float:
        """The oldest batch is back. The worker says that it waited `waited_s` seconds for it and was busy for `busy_s`.

        Returns what it cost, in seconds: from when the worker could have begun it. That is what a cost curve learns.
        """
        handed_at, _ = self._batches.popleft()
        freed_at, self._freed_at = self._freed_at, now
        cost_s = now - max(handed_at, freed_at)
        if handed_at >= freed_at:
            # the worker was idle anyhow: all that it was not busy went on the way, there and back
            self._learn(max(0.0, cost_s - busy_s))
        elif waited_s > _UNNOTICED_S:
            self._learn(freed_at - handed_at + waited_s)
        else:
            # it lay ready when the worker was free: this much lead was enough
            self._host_s = min(self._host_s * _DECAY, freed_at - handed_at)
            self._deviation_s *= _DECAY
        return cost_s

    def _learn(self, host_s: float) -> None:
        off_s = host_s - self._host_s
        self._host_s += _WEIGHT * off_s
        self._deviation_s += _WEIGHT * (abs(off_s) - self._deviation_s)

    def lost(self, now: float) -> None:
        """The worker is gone, and its batches with it."""
        self._batches.clear()
        self._freed_at = now

    def free_at(self, now: float) -> float | None:
        """When all that the worker has should have ended, never before `now`; None when it has nothing."""
        if not self._batches:
            return None
        curve, free_at = self._curve, self._freed_at
        for handed_at, n in self._batches:
            begins_at = free_at if free_at > handed_at else handed_at
            free_at = begins_at + (curve.fixed_s + curve.per_item_s * n)
            if free_at < now:
                free_at = now
        return free_at

    def room_at(self, now: float, waiting: int, *, is_full: bool = False) -> float | None:
        """When to hand over another batch of what waits, `now` or later; None: only once one has ended.

        `is_full`: nothing that came later could still join it.
        """
        count = len(self._batches)
        if count:
            limit = self._curve.batch_limit
            if count >= self._depth:
                return None
            if self._overlaps and is_full:
                return now
            if (self._is_only_full and waiting < limit) or self._curve.predict(limit) < _WORTH_S:
                return None
        free_at = self.free_at(now)
        return now if free_at is None else max(now, free_at - self.lead_s)
