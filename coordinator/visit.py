"""A visit: one API request from its headers to its answer, as metrics and the journal want to know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from coordinator.answers import tenth
from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.merge import Part
from coordinator.trace import trace_of
from coordinator.version_figures import VersionFigures
from crema.host.metrics import Metrics
from crema.host.service import request_id_of

TIER: Final = "coordinator"
# The status that metrics and the journal show for a caller who left before the answer.
CALLER_LEFT: Final = 499


class Visit:
    """What is known of one request so far. `started` is when its headers were read, as a time of `monotonic`."""

    __slots__ = (
        "body_bytes", "code", "image", "images", "is_inside", "parts", "preprocess_ms", "problems", "request_id",
        "started", "status", "trace_id", "traceparent", "where",
    )  # fmt: skip

    def __init__(self, request: web.BaseRequest, where: str, started: float) -> None:
        self.request_id = request_id_of(request)
        self.where = where
        self.started = started
        trace = trace_of(request.headers.get("traceparent"))
        self.trace_id = None if trace is None else trace[0]
        self.traceparent = None if trace is None else trace[1]
        self.body_bytes = 0
        self.is_inside = False
        self.status = 500
        self.code = "internal"
        self.image: dict[str, Any] | None = None
        self.parts: Sequence[Part] = ()
        self.preprocess_ms = 0.0
        # of a batch only
        self.images = 0
        self.problems = 0


class Observer:
    """Counts and writes down every visit when it ends, and gives back what it held at the gate.

    Counts are kept in plain numbers and handed to the metrics when those are read: a labelled counter costs more than
    everything else that a visit's end needs.
    """

    def __init__(self, metrics: Metrics, journal: Journal, gate: Gate) -> None:
        self._metrics = metrics
        self._journal = journal
        self._gate = gate
        # (model, version, status) → calls since the metrics were last read; ("", "", status) is the whole call
        self._counted: dict[tuple[str, str, int], int] = {}
        self.figures = VersionFigures()
        """Of each version, for who judges a canary."""
        self._seconds = metrics.request_seconds.labels(tier=TIER, model="", version="")
        self._refused = metrics.refused_total.labels(
            tier=TIER, model="", version="", reason="full", lane="interactive"
        )

    def refused(self) -> None:
        """A call found the gate full."""
        self._refused.inc()

    def partial(self) -> None:
        """An image got an answer from some of its models only."""
        self._metrics.partial_total.inc()

    def end(self, visit: Visit, now: float) -> None:
        """The visit's answer is ready (or its caller left)."""
        took_s = now - visit.started
        if visit.is_inside:
            self._gate.leave(took_s)
        self._gate.release(visit.body_bytes)
        self._seconds.observe(took_s)
        counted = self._counted
        key = ("", "", visit.status)
        counted[key] = counted.get(key, 0) + 1
        for part in visit.parts:
            key = (part.model, part.version, 200 if part.error is None else part.error.status)
            counted[key] = counted.get(key, 0) + 1
        self.figures.count(visit.parts)
        if self._journal.is_on:
            self._journal.write(_event(visit, took_s))

    def refresh(self) -> None:
        """Bring the metrics up to date, before they are read."""
        counted, self._counted = self._counted, {}
        for (model, version, status), count in counted.items():
            self._metrics.requests_total.labels(
                tier=TIER, model=model, version=version, code=str(status)
            ).inc(count)
        self._metrics.pending.labels(tier=TIER, model="", version="").set(self._gate.requests)
        self._metrics.places.labels(tier=TIER, model="", version="").set(self._gate.max_requests)


def _event(visit: Visit, took_s: float) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event": "request",
        "request_id": visit.request_id,
        "path": visit.where,
        "status": visit.status,
        "outcome": visit.code,
        "body_bytes": visit.body_bytes,
        "total_ms": tenth(took_s * 1000),
    }
    if visit.trace_id is not None:
        event["trace_id"] = visit.trace_id
    if visit.images:
        event["images"], event["problems"] = visit.images, visit.problems
        return event
    if visit.image is not None:
        event["image"] = visit.image
        event["preprocess_ms"] = tenth(visit.preprocess_ms)
    if visit.parts:
        event["models"] = [
            {"model": part.model, "version": part.version, "timing": part.timing}
            if part.error is None
            else {"model": part.model, "version": part.version, "error": part.error.code}
            for part in visit.parts
        ]
    return event
