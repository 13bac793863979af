"""Replica changes: one more or one less, while the others serve: of a version (`ScaledVersion`), or of the preprocessor.

Less is: first out of the routing, then, when no coordinator sends there any more, drained, then forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from crema.host.config import Replicas
from deploy.autoscaler import Limits
from deploy.child import Child
from deploy.fleet import Fleet
from deploy.gpus import DoesNotFit, Placement
from deploy.starter import Starter
from deploy.version import ServedVersion

# A coordinator that does not follow its file by then is not waited for: what it sends is refused and tried elsewhere.
IN_FORCE_S: Final = 5.0
DRAIN_S: Final = 25.0

log = structlog.get_logger(__name__)


class Leaving:
    """Drains replicas in the background."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, child: Child, served: ServedVersion | None) -> asyncio.Task[None]:
        """`child` is in the fleet's lists no more. The task ends when its process has."""
        self._fleet.leaving[child] = served
        task = asyncio.get_running_loop().create_task(self._leave(child), name=f"drain {child.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _leave(self, child: Child) -> None:
        fleet = self._fleet
        try:
            fleet.publish()
            await fleet.is_in_force(fleet.routing.revision, {}, IN_FORCE_S)
            await child.stop(DRAIN_S)
        finally:
            del fleet.leaving[child]
            fleet.wake()
        log.info("replica_drained", child=child.name)

    async def close(self, timeout_s: float) -> None:
        """Wait for those that are on their way, and kill what is left then."""
        tasks = set(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for child in list(self._fleet.leaving):
            child.kill()
        await asyncio.gather(*tasks, return_exceptions=True)


class ScaledVersion:
    """A version whose number of minions changes."""

    def __init__(self, served: ServedVersion, fleet: Fleet, starter: Starter, leaving: Leaving) -> None:
        self._served = served
        self._fleet = fleet
        self._starter = starter
        self._leaving = leaving

    @property
    def label(self) -> str:
        """`tags@3.1`."""
        return self._served.label

    @property
    def limits(self) -> Limits:
        """As the cluster file has them."""
        return Limits(self._served.version.replicas_min, self._served.version.replicas_max)

    @property
    def children(self) -> Sequence[Child]:
        """Its minions that stay."""
        return self._served.replicas

    def scale(self, wanted: int) -> str | None:
        """Start what is missing, or drain what is too many."""
        served = self._served
        served.scaled_to = wanted
        problem = None
        while len(served.replicas) < wanted and problem is None:
            problem = self._one_more()
        while len(served.replicas) > wanted:
            self._one_less()
        return problem

    def _one_more(self) -> str | None:
        served = self._served
        try:
            placement = self._starter.place(served)
        except DoesNotFit as error:
            return str(error)
        served.placements.append(placement)
        self._fleet.start_minion(served, placement)
        return None

    def _one_less(self) -> None:
        served = self._served
        index = served.replicas.index(dispensable(served.replicas))
        child, placement = served.replicas.pop(index), served.placements.pop(index)
        task = self._leaving.begin(child, served)
        task.add_done_callback(lambda _: self._gone(placement))

    def _gone(self, placement: Placement) -> None:
        self._starter.give_back_one(self._served, placement)


class ScaledPreprocessor:
    """The preprocessor tier."""

    label: Final = "preprocessor"

    def __init__(self, replicas: Replicas, fleet: Fleet, leaving: Leaving) -> None:
        self._replicas = replicas
        self._fleet = fleet
        self._leaving = leaving

    @property
    def limits(self) -> Limits:
        """As the cluster file has them."""
        return Limits(self._replicas.min, self._replicas.max)

    @property
    def children(self) -> Sequence[Child]:
        """Those that stay."""
        return self._fleet.preprocessors

    def scale(self, wanted: int) -> str | None:
        """Start what is missing, or drain what is too many."""
        children = self._fleet.preprocessors
        while len(children) < wanted:
            self._fleet.start_preprocessor()
        while len(children) > wanted:
            child = dispensable(children)
            children.remove(child)
            self._leaving.begin(child, None)
        return None


class ScaledFleet:
    """Everything that has replicas, as it is now."""

    def __init__(self, preprocessor: Replicas, fleet: Fleet, starter: Starter, leaving: Leaving) -> None:
        self._fleet = fleet
        self._starter = starter
        self._leaving = leaving
        self._preprocessor = ScaledPreprocessor(preprocessor, fleet, leaving)
        self._versions: dict[ServedVersion, ScaledVersion] = {}

    def now(self) -> Sequence[ScaledVersion | ScaledPreprocessor]:
        """The preprocessor, and the versions that were started and stay."""
        self._versions = {
            served: self._versions.get(served)
            or ScaledVersion(served, self._fleet, self._starter, self._leaving)
            for served in self._fleet.versions
            if served.replicas and not served.is_draining
        }
        return [self._preprocessor, *self._versions.values()]


def dispensable(children: Sequence[Child]) -> Child:
    """Whom to do without: one that is not ready, else the one that came last."""
    return next((child for child in reversed(children) if not child.is_ready), children[-1])
