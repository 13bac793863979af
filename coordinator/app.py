"""The coordinator's table of contents: what it listens on, which parts it is made of, how it starts and drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from coordinator.api_v1 import ApiV1
from coordinator.description import description_routes
from coordinator.directory import Directory
from coordinator.fair_shares import FairShares
from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.keys import Guard, KeyRing
from coordinator.rights import Rights
from coordinator.router import Router
from coordinator.visit import TIER, Observer
from crema.host.metrics import Metrics
from crema.host.service import Route, Service, health_routes, metrics_route
from crema.host.tier import is_loopback

DRAIN_S: Final = 25.0
EXIT_WITHIN_S: Final = 29.0
# A coordinator nobody has called for this long has nobody to keep waiting for when it stops.
QUIET_S: Final = 10.0

log = structlog.get_logger(__name__)


class App:
    """One coordinator. Building it starts nothing: `start()`, then `drain()`."""

    def __init__(
        self,
        routing: Path,
        *,
        token: str | None = None,
        journal: Journal | None = None,
        keys: KeyRing | None = None,
        hosts: Iterable[str] = (),
        processes: int = 1,
    ) -> None:
        self.directory = Directory(routing, token=token)
        self.gate = Gate()
        self.metrics = Metrics()
        self.journal = Journal(TIER) if journal is None else journal
        self.is_draining = False
        self._followers: list[asyncio.Task[None]] = []
        shares = FairShares(processes)
        self.observer = Observer(self.metrics, self.journal, self.gate, shares)
        rights = Rights(shares, self.directory, self.observer)
        self.api = ApiV1(self.directory, Router(), self.gate, self.observer, rights)
        self.keys = KeyRing() if keys is None else keys
        self.public_guard = Guard(self.keys, hosts, self.observer.turned_away)
        self.operations_guard = Guard(self.keys, hosts)
        self.public = Service(map(self.public_guard.guarded, self.public_routes()), cancels_handlers=True)
        self.operations = Service(map(self.operations_guard.guarded, self.operations_routes()))

    def public_routes(self) -> list[Route]:
        """What callers reach. Nothing of operations is among it."""
        return [*self.api.routes, *health_routes(self.readiness), *description_routes()]

    def operations_routes(self) -> list[Route]:
        """What operators reach."""
        return [metrics_route(self.metrics, self._refresh_metrics), *health_routes(self.readiness)]

    async def start(
        self, listen: tuple[str, int], operations: tuple[str, int], *, reuse_port: bool = False
    ) -> dict[str, int]:
        """Listen and begin to follow the routing file; returns the ports. Ready once the replicas are connected."""
        self.public_guard.listens_here_only = is_loopback(listen[0])
        self.operations_guard.listens_here_only = is_loopback(operations[0])
        ports = {
            "public": await self.public.start(*listen, reuse_port=reuse_port),
            "operations": await self.operations.start(*operations),
        }
        loop = asyncio.get_running_loop()
        self._followers = [loop.create_task(self.directory.run()), loop.create_task(self.keys.run())]
        return ports

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready when every model's default version has a ready replica and a preprocessor is connected."""
        models = {
            name: {"version": model.default.version_text, "ready": len(model.default.open_peers)}
            for name, model in self.directory.models.items()
        }
        is_ready = (
            self.directory.is_loaded
            and not self.is_draining
            and bool(self.directory.open_preprocessors)
            and all(each["ready"] for each in models.values())
        )
        return is_ready, {"models": models}

    def is_quiet(self) -> bool:
        """Whether no call is in flight and none came lately."""
        return self.gate.requests == 0 and monotonic() - self.api.last_call > QUIET_S

    async def drain(self, grace_s: float, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        """Unready at once; callers are taken for `grace_s` more, then what is in flight is finished.

        A coordinator whose parent is gone, or that nobody uses, does without the grace.
        """
        self.is_draining = True
        self.public.is_draining = True
        log.info("draining", in_flight=self.gate.requests)
        begun = monotonic()
        while monotonic() < begun + grace_s and not is_abandoned():
            await asyncio.sleep(min(0.1, grace_s))
        left_s = min(DRAIN_S, EXIT_WITHIN_S - (monotonic() - begun))
        try:
            async with asyncio.timeout(left_s + 0.5):
                await self.public.close(left_s)
        except TimeoutError:
            log.warning("drain_cut_short", in_flight=self.gate.requests)
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        await self.directory.close()
        await self.operations.close(1.0)
        self.journal.flush()
        log.info("drained")

    def _refresh_metrics(self) -> None:
        self.observer.refresh()
        self.metrics.ready.labels(tier=TIER, model="", version="").set(1 if self.readiness()[0] else 0)
