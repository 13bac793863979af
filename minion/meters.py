"""Meters: the minion's metrics with their labels bound once. It counts; it decides nothing.

What every item or batch counts is kept in plain numbers and handed over when the metrics are read: a metric of the library
costs more than the step that it counts.
"""

from __future__ import annotations

from typing import Final, get_args

from crema.host.folded_counts import FoldedCounts
from crema.host.folded_histogram import FoldedHistogram
from crema.host.metrics import SECONDS, SIZES, Metrics
from crema.names import LANES, Lane
from minion.gate import Reason
from minion.gpu_memory import GpuMemory

_TIER: Final = "minion"
RESTART_REASONS: Final = ("crashed", "load_failed", "load_timeout", "watchdog", "cuda", "leak")


class Meters:
    """Bound children of one model version's metrics."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        labels = (_TIER, model, version)
        self._answered: FoldedCounts[int] = FoldedCounts(
            lambda status: metrics.requests_total.labels(*labels, str(status))
        )
        self._labels = labels
        self._refused = {
            (reason, lane): metrics.refused_total.labels(*labels, reason, lane)
            for reason in get_args(Reason)
            for lane in LANES
        }
        self._items = {
            (decision, lane): metrics.items_total.labels(*labels, lane, decision)
            for decision in ("accepted", *get_args(Reason))
            for lane in LANES
        }
        self._accepted: FoldedCounts[Lane] = FoldedCounts(lambda lane: self._items["accepted", lane])
        # asked there straight: once or more per batch, and per request
        self.answered, self.accepted = self._answered.add, self._accepted.add
        """`n` requests were answered with a status; the gate admitted a request of `n` items in a lane."""
        self._restarts = {
            reason: metrics.worker_restarts_total.labels(*labels, reason) for reason in RESTART_REASONS
        }
        self.expired = metrics.dropped_total.labels(*labels, "expired")
        self.abandoned = metrics.dropped_total.labels(*labels, "abandoned")
        self.quarantined = metrics.dropped_total.labels(*labels, "quarantined")
        self.request_seconds = FoldedHistogram(metrics.request_seconds.labels(*labels), SECONDS)
        self.queue_wait_seconds = FoldedHistogram(metrics.queue_wait_seconds.labels(*labels), SECONDS)
        self.batch_size = FoldedHistogram(metrics.batch_size.labels(*labels), SIZES)
        self.batch_seconds = FoldedHistogram(metrics.batch_seconds.labels(*labels), SECONDS)
        self.load_seconds = metrics.model_load_seconds.labels(*labels)
        self.pending = metrics.pending.labels(*labels)
        self.places = metrics.places.labels(*labels)
        self.busy_ratio = metrics.busy_ratio.labels(*labels)
        self.load_ratio = metrics.load_ratio.labels(*labels)
        self.ready = metrics.ready.labels(*labels)
        self.starting = metrics.starting.labels(*labels)
        self._gpu_memory = metrics.gpu_memory_bytes
        # at 0 from the start: a rate over a counter that appears late misses its first step
        self.batch_splits = metrics.batch_splits_total.labels(*labels)
        self.answered(200, 0)

    def fold(self) -> None:
        """Hand over what was counted since the last time."""
        self._answered.fold()
        self._accepted.fold()
        for histogram in (self.request_seconds, self.queue_wait_seconds, self.batch_size, self.batch_seconds):
            histogram.fold()

    def gpu_memory(self, memory: GpuMemory) -> None:
        """What the workers say of their GPU; a minion on a CPU shows no such figures."""
        for kind, amount in memory._asdict().items():
            self._gpu_memory.labels(*self._labels, kind).set(amount)

    def refused(self, reason: Reason, lane: Lane, n: int) -> None:
        """The gate refused a request of `n` items."""
        self._refused[reason, lane].inc()
        self._items[reason, lane].inc(n)

    def restarted(self, reason: str) -> None:
        """A worker is being replaced."""
        self._restarts[reason].inc()
