"""Meters: the minion's metrics with their labels bound once. It counts; it decides nothing."""

from __future__ import annotations

from typing import Any, Final, get_args

from crema.host.metrics import Metrics
from crema.names import LANES, Lane
from minion.gate import Reason
from minion.gpu_memory import GpuMemory

_TIER: Final = "minion"
RESTART_REASONS: Final = ("crashed", "load_failed", "load_timeout", "watchdog", "cuda", "leak")


class Meters:
    """Bound children of one model version's metrics."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        labels = (_TIER, model, version)
        self._requests = metrics.requests_total
        self._labels = labels
        self._codes: dict[int, Any] = {}
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
        self._restarts = {
            reason: metrics.worker_restarts_total.labels(*labels, reason) for reason in RESTART_REASONS
        }
        self.expired = metrics.dropped_total.labels(*labels, "expired")
        self.abandoned = metrics.dropped_total.labels(*labels, "abandoned")
        self.quarantined = metrics.dropped_total.labels(*labels, "quarantined")
        self.request_seconds = metrics.request_seconds.labels(*labels)
        self.queue_wait_seconds = metrics.queue_wait_seconds.labels(*labels)
        self.batch_size = metrics.batch_size.labels(*labels)
        self.batch_seconds = metrics.batch_seconds.labels(*labels)
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
        self.code(200)

    def code(self, status: int) -> Any:
        """The counter of requests answered with `status`."""
        child = self._codes.get(status)
        if child is None:
            child = self._codes[status] = self._requests.labels(*self._labels, str(status))
        return child

    def gpu_memory(self, memory: GpuMemory) -> None:
        """What the workers say of their GPU; a minion on a CPU shows no such figures."""
        for kind, amount in memory._asdict().items():
            self._gpu_memory.labels(*self._labels, kind).set(amount)

    def accepted(self, lane: Lane, n: int) -> None:
        """The gate admitted a request of `n` items."""
        self._items["accepted", lane].inc(n)

    def refused(self, reason: Reason, lane: Lane, n: int) -> None:
        """The gate refused a request of `n` items."""
        self._refused[reason, lane].inc()
        self._items[reason, lane].inc(n)

    def restarted(self, reason: str) -> None:
        """A worker is being replaced."""
        self._restarts[reason].inc()
