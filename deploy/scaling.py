"""Scaling: looks at the replicas of every version and of the preprocessor once per control period, asks the autoscaler,
and has replicas started or drained. It knows nothing of how either is done (`replica_changes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from crema.host.config_autoscaling import AutoscalingConfig
from deploy.autoscaler import Autoscaler, Decision, Limits, Sample
from deploy.child import Child
from deploy.replica_figures import ReplicaFigures, Replicas, read_figures

Read = Callable[[Child], Awaitable[str | None]]
"""A child's `/metrics`; None when it does not answer in time."""

log = structlog.get_logger(__name__)


class Scaled(Protocol):
    """What has replicas: a version, or the preprocessor tier."""

    @property
    def label(self) -> str:
        """`tags@3.1`, or `preprocessor`."""

    @property
    def limits(self) -> Limits:
        """`replicas: {min, max}`."""

    @property
    def children(self) -> Sequence[Child]:
        """Those that run and stay."""

    def scale(self, wanted: int) -> str | None:
        """Have so many: starts some, or begins to drain some. Returns why that is not possible, where it is not."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was decided of one version last, and by what."""

    decision: Decision
    sample: Sample
    problem: str | None

    def document(self) -> dict[str, Any]:
        """As the status document has it."""
        why = self.decision.why if self.problem is None else f"{self.decision.why}; {self.problem}"
        return {
            "wanted": self.decision.wanted,
            "why": why,
            "window": {
                "offered": self.sample.offered,
                "accepted": self.sample.accepted,
                "refused": self.sample.refused,
                "busy_ratio": round(self.sample.busy_ratio, 3),
                "ready": self.sample.ready,
                "starting": self.sample.starting,
            },
        }


class _Watched:
    """What is remembered of one version between two periods."""

    def __init__(self, limits: Limits, cooldown_s: float) -> None:
        self.replicas = Replicas()
        self.autoscaler = Autoscaler(limits, cooldown_s)
        self.said: Said | None = None


class Scaling:
    """`run()` until cancelled. `scaled()` is asked each period what there is now; `read` asks one replica."""

    def __init__(self, config: AutoscalingConfig, scaled: Callable[[], Sequence[Scaled]], read: Read) -> None:
        self._config = config
        self._scaled = scaled
        self._read = read
        self._watched: dict[Scaled, _Watched] = {}

    @property
    def said(self) -> Mapping[str, Said]:
        """By label, what was decided last."""
        return {each.label: kept.said for each, kept in self._watched.items() if kept.said is not None}

    async def run(self) -> None:
        """Decide once per period."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._config.period_s, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await self.decide(loop.time())
            except Exception:  # what watches over the load must go on whatever one period was like
                log.exception("scaling_failed")

    async def decide(self, now: float) -> None:
        """One period of everything ends `now`."""
        scaled = self._scaled()
        self._watched = {
            each: self._watched.get(each) or _Watched(each.limits, self._config.cooldown_s) for each in scaled
        }
        await asyncio.gather(*(self._decide(each, self._watched[each], now) for each in scaled))

    async def _decide(self, scaled: Scaled, watched: _Watched, now: float) -> None:
        children = [child for child in scaled.children if child.pid is not None and "http" in child.ports]
        texts = await asyncio.gather(*map(self._read, children))
        seen: dict[object, ReplicaFigures | None] = {
            child.pid: None if text is None else read_figures(text)
            for child, text in zip(children, texts, strict=True)
        }
        unseen = sum(child.state == "starting" for child in scaled.children if child not in children)
        sample = watched.replicas.sample(now, seen, unseen)
        decision = watched.autoscaler.decide(now, sample, watched.replicas.boot_s)
        count = len(scaled.children)
        problem = scaled.scale(decision.wanted) if decision.wanted != count else None
        watched.said = Said(decision, sample, problem)
        told = log.debug if decision.wanted == count else log.info
        told("scaling", version=scaled.label, replicas=count, need=decision.need, **watched.said.document())
