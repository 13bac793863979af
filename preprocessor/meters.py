"""The preprocessor's rows of the metric table, with labels bound once.

What every image counts is kept in plain numbers and handed over when the metrics are read: a metric of the library costs
more than the step that it counts.
"""

from __future__ import annotations

from typing import get_args

from crema.host.folded_counts import FoldedCounts
from crema.host.folded_histogram import FoldedHistogram
from crema.host.metrics import SECONDS, Metrics
from crema.names import LANES, Lane
from preprocessor.gate import Reason

_TIER = {"tier": "preprocessor", "model": "", "version": ""}


class Meters:
    """What the tier counts. `crema_preprocess_seconds{stage="decode"}` counts decodes: one per image, whatever the specs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._answered: FoldedCounts[int] = FoldedCounts(
            lambda status: metrics.requests_total.labels(**_TIER, code=str(status))
        )
        self._accepted: FoldedCounts[Lane] = FoldedCounts(lambda lane: self._items["accepted", lane])
        stages = metrics.preprocess_seconds
        self._queue, self._decode, self._resize, self._fetch = (
            FoldedHistogram(stages.labels(stage=stage), SECONDS)
            for stage in ("queue", "decode", "resize", "fetch")
        )
        self._request_seconds = FoldedHistogram(metrics.request_seconds.labels(**_TIER), SECONDS)
        self._queue_wait_seconds = FoldedHistogram(metrics.queue_wait_seconds.labels(**_TIER), SECONDS)
        self.pending = metrics.pending.labels(**_TIER)
        self.places = metrics.places.labels(**_TIER)
        self.busy_ratio = metrics.busy_ratio.labels(**_TIER)
        self.load_ratio = metrics.load_ratio.labels(**_TIER)
        self.ready = metrics.ready.labels(**_TIER)
        self.starting = metrics.starting.labels(**_TIER)
        # at 0 from the start: a rate over a counter that appears late misses its first step
        self._items = {
            (decision, lane): metrics.items_total.labels(**_TIER, lane=lane, decision=decision)
            for decision in ("accepted", "draining", *get_args(Reason))
            for lane in LANES
        }

    def answered(self, status: int, seconds: float) -> None:
        """A request was answered with an HTTP status, so long after it came."""
        self._answered.add(status)
        self._request_seconds.observe(seconds)

    def served(self, queue_s: float, decode_s: float, resize_s: float) -> None:
        """An image went through all stages."""
        self._queue_wait_seconds.observe(queue_s)
        self._queue.observe(queue_s)
        self._decode.observe(decode_s)
        self._resize.observe(resize_s)

    def fetched(self, fetch_ms: float) -> None:
        """A fetch by URL ended, with an image or without."""
        self._fetch.observe(fetch_ms / 1000)

    def accepted(self, lane: Lane) -> None:
        """An image was let in, its own header looked at."""
        self._accepted.add(lane)

    def fold(self) -> None:
        """Hand over what was counted since the last time."""
        self._answered.fold()
        self._accepted.fold()
        for histogram in (
            self._request_seconds,
            self._queue_wait_seconds,
            self._queue,
            self._decode,
            self._resize,
            self._fetch,
        ):
            histogram.fold()

    def refused(self, reason: str, lane: Lane) -> None:
        """A request was refused for want of room or for draining: full, deadline, bulk or draining."""
        self._items[reason, lane].inc()
        self._metrics.refused_total.labels(**_TIER, reason=reason, lane=lane).inc()

    def decoder_replaced(self, reason: str) -> None:
        """A decode process was replaced: budget, cpu, died, start or recycled."""
        self._metrics.worker_restarts_total.labels(**_TIER, reason=reason).inc()

    def job_dropped(self, reason: str) -> None:
        """Admitted work was dropped before it ran: expired or abandoned."""
        self._metrics.dropped_total.labels(**_TIER, reason=reason).inc()
