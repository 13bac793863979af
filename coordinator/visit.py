"""A visit: one API request from its headers to its answer, as metrics and the journal want to know it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final, Literal

from prometheus_client import Counter

from coordinator.event import event_of
from coordinator.fair_shares import Admission, FairShares
from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.keys import Caller
from coordinator.merge import Part
from coordinator.trace import trace_of
from coordinator.version_figures import VersionFigures
from crema.errors import CremaError
from crema.host.folded_histogram import FoldedHistogram
from crema.host.http_request import Request, request_id_of
from crema.host.metrics import SECONDS, Metrics
from crema.names import LANES, Lane

TIER: Final = "coordinator"
# The status that metrics and the journal show for a caller who left before the answer.
CALLER_LEFT: Final = 499
# Of several processes each keeps its counts in a file that the others read; writing them one by one is dear.
COUNTED_WITHIN_S: Final = 0.02


class Visit:
    """What is known of one request so far. `started` is when its headers were read, as a time of `monotonic`."""

    __slots__ = (
        "admission", "body_bytes", "body_ms", "caller", "code", "holding", "image", "images", "is_counted", "is_inside",
        "lane", "merge_ms", "parts", "preprocess_ms", "problems", "request_id", "started", "status", "trace_id",
        "traceparent", "where",
    )  # fmt: skip

    def __init__(self, request: Request, where: str, started: float) -> None:
        self.request_id = request_id_of(request)
        self.where = where
        self.started = started
        self.trace_id: str | None = None
        self.traceparent: str | None = None
        sent = request.headers.get("traceparent")
        if sent is not None and (trace := trace_of(sent)) is not None:
            self.trace_id, self.traceparent = trace
        self.caller: Caller | None = request.caller
        """Who showed a key; None where none are asked for."""
        self.holding = None if self.caller is None else self.caller.account.holding
        self.is_counted = False
        """Whether the caller's quota counts this call."""
        self.admission: Admission | None = None
        self.body_bytes = 0
        self.body_ms = 0.0
        self.lane: str | None = None
        self.is_inside = False
        self.status = 500
        self.code = "internal"
        self.image: dict[str, Any] | None = None
        self.parts: Sequence[Part] = ()
        self.preprocess_ms = 0.0
        self.merge_ms = 0.0
        # of a batch only
        self.images = 0
        self.problems = 0

    @property
    def is_plain(self) -> bool:
        """Whether all went well: of such visits a sample tells enough."""
        return self.code == "ok" and not self.problems


class Observer:
    """Counts and writes down every visit when it ends, and gives back what it held at the gate.

    Counts are kept in plain numbers and handed to the metrics when those are read: a labelled counter costs more than
    everything else that a visit's end needs.
    """

    def __init__(self, metrics: Metrics, journal: Journal, gate: Gate, shares: FairShares) -> None:
        self._metrics = metrics
        self._journal = journal
        self._gate = gate
        self._shares = shares
        self.figures = VersionFigures()
        """Of each version, for who judges a canary."""
        # whole calls by status
        self._calls: dict[int, int] = {}
        # (model, version, status) → what the metrics hold of it; ("", "", status) is the whole call
        self._told: dict[tuple[str, str, int], int] = {}
        self._counters: dict[tuple[str, str, int], Counter] = {}
        # siblings read what this process keeps in its file: there the counts stand a moment later
        self._is_read_by_siblings = metrics.shared_folder is not None
        self._timer: asyncio.TimerHandle | None = None
        self._seconds = FoldedHistogram(
            metrics.request_seconds.labels(tier=TIER, model="", version=""), SECONDS
        )
        self._refused = {
            (reason, lane): metrics.refused_total.labels(
                tier=TIER, model="", version="", reason=reason, lane=lane
            )
            for reason in ("full", "quota")
            for lane in LANES
        }

    def refused(self, reason: Literal["full", "quota"] = "full", lane: Lane = "interactive") -> None:
        """A call found the gate full or its key's fair share used up (`full`), or its key's limits reached (`quota`)."""
        self._refused[reason, lane].inc()

    def turned_away(self, request: Request, error: CremaError) -> None:
        """A request got no further than its headers: it had no key, or not the scope."""
        visit = Visit(request, request.path[:200], monotonic())
        visit.status, visit.code = error.status, error.code
        self.end(visit, visit.started)

    def partial(self) -> None:
        """An image got an answer from some of its models only."""
        self._metrics.partial_total.inc()

    def end(self, visit: Visit, now: float) -> None:
        """The visit's answer is ready (or its caller left)."""
        took_s = now - visit.started
        if visit.is_inside:
            self._gate.leave(took_s, visit.holding)
        self._gate.release(visit.body_bytes, visit.holding)
        if visit.caller is not None:
            if visit.is_counted:
                visit.caller.account.quota.leave()
            if visit.admission is not None:
                self._shares.leave(now, visit.admission, took_s, visit.parts)
        self._seconds.observe(took_s)
        status = visit.status
        self._calls[status] = self._calls.get(status, 0) + 1
        self.figures.count(visit.parts)
        if self._is_read_by_siblings and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COUNTED_WITHIN_S, self._count)
        if self._journal.wants(visit.is_plain):
            self._journal.write(event_of(visit, took_s))

    def _count(self) -> None:
        self._timer = None
        self._seconds.fold()
        for status, count in self._calls.items():
            self._tell(("", "", status), count)
        for key, count in self.figures.ended():
            self._tell(key, count)

    def _tell(self, key: tuple[str, str, int], count: int) -> None:
        """Bring a counter up to `count`."""
        told = self._told.get(key, 0)
        if count == told:
            return
        counter = self._counters.get(key)
        if counter is None:
            model, version, status = key
            counter = self._metrics.requests_total.labels(
                tier=TIER, model=model, version=version, code=str(status)
            )
            self._counters[key] = counter
        counter.inc(count - told)
        self._told[key] = count

    def refresh(self) -> None:
        """Bring the metrics up to date, before they are read."""
        if self._timer is not None:
            self._timer.cancel()
        self._count()
        self._metrics.pending.labels(tier=TIER, model="", version="").set(self._gate.requests)
        self._metrics.places.labels(tier=TIER, model="", version="").set(self._gate.max_requests)
