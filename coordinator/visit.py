"""A visit: one API request from its headers to its answer, as metrics and the journal want to know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.merge import Part
from coordinator.trace import trace_of
from crema.host.metrics import Metrics
from crema.host.service import request_id_of

TIER: Final = "coordinator"
# The status that metrics and the journal show for a caller who left before the answer.
CALLER_LEFT: Final = 499


class Visit:
    """What is known of one request so far. `started` is a time of the loop's clock: when the headers were read."""

    __slots__ = (
        "body_bytes", "code", "image", "is_inside", "merged", "parts", "preprocess_ms", "request_id", "started",
        "status", "trace_id", "traceparent", "where",
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
        self.preprocess_ms: float | None = None


class Observer:
    """Counts and writes down every visit when it ends, and gives back what it held at the gate."""

    def __init__(self, metrics: Metrics, journal: Journal, gate: Gate) -> None:
        self._metrics = metrics
        self._journal = journal
        self._gate = gate
        # children are bound once: looking labels up costs three times an update
        self._requests: dict[int, Any] = {}
        self._parts: dict[tuple[str, str, int], Any] = {}
        self._seconds = metrics.request_seconds.labels(tier=TIER, model="", version="")
        self._refused = metrics.refused_total.labels(tier=TIER, model="", version="", reason="full", lane="interactive")
        self._partial = metrics.partial_total

    def refused(self) -> None:
        """A call found the gate full."""
        self._refused.inc()

    def end(self, visit: Visit, now: float) -> None:
        """The visit's answer is ready (or its caller left)."""
        took_s = now - visit.started
        if visit.is_inside:
            self._gate.leave(took_s)
        self._gate.release(visit.body_bytes)
        requests = self._requests.get(visit.status)
        if requests is None:
            requests = self._metrics.requests_total.labels(tier=TIER, model="", version="", code=str(visit.status))
            self._requests[visit.status] = requests
        requests.inc()
        self._seconds.observe(took_s)
        if visit.code == "partial":
            self._partial.inc()
        for part in visit.parts:
            self._count_part(part)
        if self._journal.is_on:
            self._journal.write(self._event(visit, took_s))

    def _count_part(self, part: Part) -> None:
        key = (part.model, part.version, 200 if part.error is None else part.error.status)
        child = self._parts.get(key)
        if child is None:
            model, version, status = key
            child = self._metrics.requests_total.labels(tier=TIER, model=model, version=version, code=str(status))
            self._parts[key] = child
        child.inc()

    @staticmethod
    def _event(visit: Visit, took_s: float) -> dict[str, Any]:
        event: dict[str, Any] = {
            "event": "request",
            "request_id": visit.request_id,
            "path": visit.where,
            "status": visit.status,
            "outcome": visit.code,
            "body_bytes": visit.body_bytes,
            "total_ms": round(took_s * 1000, 1),
        }
        if visit.trace_id is not None:
            event["trace_id"] = visit.trace_id
        if visit.preprocess_ms is not None:
            event["preprocess_ms"] = round(visit.preprocess_ms, 1)
        if visit.image is not None:
            event["image"] = visit.image
        if visit.parts:
            event["models"] = [_shown(part) for part in visit.parts]
        return event


def _shown(part: Part) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": part.model, "version": part.version}
    if part.error is not None:
        shown["error"] = part.error.code
    elif part.timing is not None:
        shown.update(part.timing)
    return shown
