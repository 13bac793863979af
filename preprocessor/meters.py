"""The preprocessor's rows of the metric table, with labels bound once: a bound update costs a third of an unbound one."""

from __future__ import annotations

from typing import Any, Final, get_args

from crema.host.metrics import Metrics
from crema.names import LANES, Lane
from preprocessor.gate import Reason

_TOLD_TOGETHER: Final = 32

_TIER = {"tier": "preprocessor", "model": "", "version": ""}


class Meters:
    """What the tier counts. `crema_preprocess_seconds{stage="decode"}` counts decodes: one per image, whatever the specs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_code: dict[int, Any] = {}
        self._served: list[tuple[float, float, float, float]] = []
        self._stages = {
            stage: metrics.preprocess_seconds.labels(stage=stage)
            for stage in ("queue", "decode", "resize", "fetch")
        }
        self._request_seconds = metrics.request_seconds.labels(**_TIER)
        self._queue_wait_seconds = metrics.queue_wait_seconds.labels(**_TIER)
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
        counter = self._by_code.get(status)
        if counter is None:
            counter = self._by_code[status] = self._metrics.requests_total.labels(**_TIER, code=str(status))
        counter.inc()
        self._request_seconds.observe(seconds)

    def served(self, seconds: float, queue_ms: float, decode_ms: float, resize_ms: float) -> None:
        """An image went through all stages and was answered 200, so long after it came."""
        self._served.append((seconds, queue_ms / 1000, decode_ms / 1000, resize_ms / 1000))
        if len(self._served) >= _TOLD_TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Count what was served since the last time. Many in a row cost half of what each between two images does."""
        queue, decode, resize = (self._stages[stage].observe for stage in ("queue", "decode", "resize"))
        for seconds, queue_s, decode_s, resize_s in self._served:
            self.answered(200, seconds)
            self._queue_wait_seconds.observe(queue_s)
            queue(queue_s)
            decode(decode_s)
            resize(resize_s)
        self._served.clear()

    def fetched(self, fetch_ms: float) -> None:
        """A fetch by URL ended, with an image or without."""
        self._stages["fetch"].observe(fetch_ms / 1000)

    def accepted(self, lane: Lane) -> None:
        """An image was let in, its own header looked at."""
        self._items["accepted", lane].inc()

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
