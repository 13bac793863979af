"""The coordinator's table of contents: what it listens on, which parts it is made of, how it starts and drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from coordinator.api_v1 import ApiV1
from coordinator.description import description_routes
from coordinator.directory import Directory
from coordinator.docs_page import docs_routes
from coordinator.fair_shares import FairShares
from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.keys import Guard, KeyRing
from coordinator.rights import Rights
from coordinator.scrape_targets import targets_route
from coordinator.version_figures import figures_route
from coordinator.visit import COUNTED_WITHIN_S, TIER, Observer
from coordinator.ways import Ways
from crema.host.health_routes import health_routes
from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.http_responses import json_response
from crema.host.loopback import is_loopback
from crema.host.metrics import CONTENT_TYPE, Metrics
from crema.host.service import OPEN, Route, Service

DRAIN_S: Final = 25.0
EXIT_WITHIN_S: Final = 29.0
# A coordinator nobody has called for this long has nobody to keep waiting for when it stops.
QUIET_S: Final = 10.0
# Of its own, so that operators get in when callers have taken every connection there is for them.
OPERATIONS_CONNECTIONS: Final = 32

# Between the last accepted connection and the end of the idle ones.
LINGER_S: Final = 0.3
FRESH_S: Final = 0.5
SETTLE_S: Final = 1.0
# After this long a coordinator takes calls with what it has, though a model be missing.
SERVES_AFTER_S: Final = 10.0

Address = tuple[str, int]
ANY_OWN_PORT: Final[Address] = ("127.0.0.1", 0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SharedListeners:
    """What a process is given that does not listen for itself: two sockets that listen already."""

    public: socket.socket
    operations: socket.socket


class App:
    """One coordinator. Building it starts nothing: `start()`, then `drain()`."""

    def __init__(
        self,
        routing: Path,
        *,
        token: str | None = None,
        journal: Journal | None = None,
        can_fetch: bool = False,
        keys: KeyRing | None = None,
        hosts: Iterable[str] = (),
        processes: int = 1,
    ) -> None:
        self.directory = Directory(routing, token=token)
        self.ways = Ways(self.directory)
        self.gate = Gate()
        self.metrics = Metrics()
        self.journal = Journal(TIER) if journal is None else journal
        self.is_draining = False
        self._started = monotonic()
        self._has_been_ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self.keys = ring = KeyRing() if keys is None else keys
        shares = FairShares(processes, lambda: ring.is_shared)
        self.observer = Observer(self.metrics, self.journal, self.gate, shares)
        rights = Rights(shares, self.directory, self.observer)
        self.api = ApiV1(self.ways, self.gate, self.observer, rights, can_fetch=can_fetch)
        self.public_guard = Guard(self.keys, hosts, self.observer.turned_away)
        self.operations_guard = Guard(self.keys, hosts)
        self.public = Service(map(self.public_guard.guarded, self.public_routes()), cancels_handlers=True)
        self.operations = Service(
            map(self.operations_guard.guarded, self.operations_routes()),
            connection_cap=OPERATIONS_CONNECTIONS,
        )
        own_guard = Guard(KeyRing(), hosts)
        self.own = Service(map(own_guard.guarded, self.own_routes()))
        """For who runs this process: its health and its versions' figures, whatever keys are in force and however many
        processes share the other listeners."""

    def public_routes(self) -> list[Route]:
        """What callers reach. Nothing of operations is among it."""
        return [*self.api.routes, *health_routes(self.readiness), *description_routes(), *docs_routes()]

    def operations_routes(self) -> list[Route]:
        """What operators reach."""
        return [
            Route("GET", "/metrics", self._show_metrics, "metrics"),
            targets_route(lambda: self.directory.routing, self.directory.discovery),
            *health_routes(self.readiness),
            Route("GET", "/servez", self._show_serving, OPEN),
        ]

    def own_routes(self) -> list[Route]:
        """What the supervisor reaches."""
        return [*health_routes(self.own_readiness), figures_route(self.observer.figures)]

    async def _show_serving(self, request: Request) -> Answer:
        return json_response({"serving": self.is_serving}, status=200 if self.is_serving else 503)

    async def _show_metrics(self, request: Request) -> Answer:
        """The figures of this process, or of all of them: then once the others have written theirs down."""
        if self.metrics.shared_folder is not None:
            await asyncio.sleep(2 * COUNTED_WITHIN_S)
        self._refresh_metrics()
        return answer(self.metrics.render(), CONTENT_TYPE)

    async def start(
        self,
        listen: Address,
        operations: Address,
        *,
        http: Address = ANY_OWN_PORT,
        shared: SharedListeners | None = None,
    ) -> dict[str, int]:
        """Listen and begin to follow the routing file; returns the ports. Ready once the replicas are connected.

        One that shares its listeners, with siblings or with who comes after it, is given them (`shared`); `http` is for
        this process alone.
        """
        self.public_guard.listens_here_only = is_loopback(listen[0])
        self.operations_guard.listens_here_only = is_loopback(operations[0])
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(self.directory.run()), loop.create_task(self.keys.run())]
        if shared is None:
            ports = {
                "public": await self.public.start(*listen),
                "operations": await self.operations.start(*operations),
            }
        else:
            # callers wait there, or are taken from those who serve: not before this process can serve them too
            await self._until_connected(SETTLE_S)
            ports = {
                "public": await self.public.start(*listen, listening=shared.public),
                "operations": await self.operations.start(*operations, listening=shared.operations),
            }
            if self.metrics.shared_folder is not None:
                self._tasks.append(loop.create_task(self._keep_metrics_fresh()))
        ports["http"] = await self.own.start(*http)
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

    def own_readiness(self) -> tuple[bool, dict[str, Any]]:
        """The same for who runs this process, with the revision of the routing file that is in force."""
        is_ready, body = self.readiness()
        return is_ready, {**body, "revision": self.directory.file_revision}

    @property
    def is_serving(self) -> bool:
        """Whether a load balancer should send callers here: what is missing of one model is missing on every coordinator,
        and no reason to refuse the calls for the others."""
        self._has_been_ready = self._has_been_ready or self.readiness()[0]
        has_settled = self._has_been_ready or monotonic() - self._started > SERVES_AFTER_S
        return self.directory.is_loaded and has_settled and not self.is_draining

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
        # who connected at the last moment still has a request to send
        self.public.stop_listening()
        await asyncio.sleep(min(LINGER_S, grace_s))
        left_s = min(DRAIN_S, EXIT_WITHIN_S - (monotonic() - begun))
        try:
            async with asyncio.timeout(left_s + 0.5):
                await self.public.close(left_s)
        except TimeoutError:
            log.warning("drain_cut_short", in_flight=self.gate.requests)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.directory.close()
        await self.operations.close(1.0)
        await self.own.close(1.0)
        self.observer.refresh()
        self.journal.flush()
        log.info("drained")

    async def _until_connected(self, patience_s: float) -> None:
        """Until there is a connection for each model that has replicas, or until `patience_s` has passed."""
        begun = monotonic()
        while not self._is_connected() and monotonic() < begun + patience_s:
            await asyncio.sleep(0.01)

    def _is_connected(self) -> bool:
        directory = self.directory
        hops = [model.default.peers for model in directory.models.values()] + [directory.preprocessors]
        return directory.is_loaded and all(peers.group.is_open for peers in hops if peers.all)

    async def _keep_metrics_fresh(self) -> None:
        """Counts are where the siblings read them at once; what is a state (pending, ready) is brought there here."""
        while True:
            self._refresh_metrics()
            await asyncio.sleep(FRESH_S)

    def _refresh_metrics(self) -> None:
        self.observer.refresh()
        for outcome, count in self.ways.tries.counted().items():
            self.metrics.retries_total.labels(outcome=outcome).inc(count)
        self.metrics.ready.labels(tier=TIER, model="", version="").set(1 if self.readiness()[0] else 0)
