"""The minion, as a table of contents: which parts there are, what start and drain do, and the routes.

POST /v1/infer            the door (minion.door)
GET  /livez /readyz       health, never behind the gate
GET  /metrics             Prometheus
channel: infer, cancel    coordinators and preprocessors (minion.peers)
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import structlog

from crema.host.channel_server import ChannelServer
from crema.host.health_routes import health_routes, metrics_route
from crema.host.host_guard import HostGuard
from crema.host.light_ring import make_light_ring
from crema.host.loopback import is_loopback
from crema.host.manifest import Manifest
from crema.host.measured_curve import CurveFileInvalid, MeasuredCurve
from crema.host.metrics import Metrics
from crema.host.process import spare_collector
from crema.host.service import Route, Service
from crema.host.tier import Stop, announce, cluster_token, is_orphan
from crema.host.token_guard import with_token
from minion.answers import AnswerPacker
from minion.arena import arena_for
from minion.batcher import Batcher
from minion.cost_curve import CostCurve
from minion.dispatcher import Dispatcher
from minion.door import Door
from minion.gate import Gate
from minion.memory_limit import MemoryLimit
from minion.meters import Meters
from minion.peers import Peers
from minion.request import Item, RequestReader
from minion.run_folder import RunFolder, remove_abandoned
from minion.state import Life, State
from minion.watchdog import Watchdog
from minion.worker_keeper import WorkerKeeper
from minion.worker_process import OnAnswer, WorkerPlan, WorkerProcess
from minion.worker_user import worker_user

DRAIN_S: Final = 25.0

log = structlog.get_logger(__name__)


class Minion:
    """One replica of one model version. `start`, then `drain`, once each."""

    def __init__(
        self, manifest: Manifest, plan: WorkerPlan, measured: Iterable[tuple[int, float]] = ()
    ) -> None:
        """`measured` are (n, seconds) that the cost curve starts from, instead of the warm-up's."""
        card = plan.card
        slo_s = card["slo"]["p99_ms"] / 1000
        self.life = Life()
        metrics = Metrics()
        self._meters = Meters(metrics, manifest.name, manifest.version)
        curve = CostCurve(card["batching"]["max_size"], slo_s)
        curve.seed(measured)
        gate = Gate(card["gate"]["max_pending"], slo_s, curve)
        batcher: Batcher[Item] = Batcher(card["batching"]["max_wait_ms"] / 1000)
        self.dispatcher = Dispatcher(
            self.life,
            gate,
            batcher,
            curve,
            self._meters,
            slo_s=slo_s,
            served=lambda worker: self._keeper.served(worker),
            watchdog=Watchdog(manifest.watchdog_s),
            in_flight=card["batching"]["in_flight"],
        )

        def make_worker(on_answer: OnAnswer) -> WorkerProcess:
            return WorkerProcess(plan, on_answer)

        self._keeper = WorkerKeeper(
            make_worker,
            self.dispatcher,
            manifest.workers,
            lambda: MemoryLimit(manifest.resources.memory_mb),
        )
        reader = RequestReader(card)
        packer = AnswerPacker(manifest.name, manifest.version)
        self._named = {"model": manifest.name, "version": manifest.version}
        self._channels = ChannelServer(
            Peers(self.dispatcher, reader, packer, self._meters, plan.arena),
            "minion",
            frozenset({"coordinator", "preprocessor"}),
            token=cluster_token(),
        )
        self._door_token: str | None = None
        door = Door(self.dispatcher, reader, self._meters, card)
        self._host_guard = HostGuard()
        routes = [
            with_token(Route("POST", "/v1/infer", door.infer, "infer"), lambda: self._door_token),
            *health_routes(self.readiness),
            metrics_route(metrics, self.dispatcher.refresh),
        ]
        self._service = Service(map(self._host_guard.guarded, routes), cancels_handlers=True)

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests reach the gate, and the rest of the body of `/readyz`."""
        state = self.life.state
        return state.is_ready, {
            "state": state.value,
            **self._named,
            "problem": self.life.problem,
            "workers": self._keeper.workers,
            "restarts": self._keeper.restarts,
        }

    async def start(self, channel: tuple[str, int], http: tuple[str, int]) -> dict[str, int]:
        """Listen, then begin to load. Returns the ports."""
        self._host_guard.is_on = is_loopback(http[0])
        if not self._host_guard.is_on:
            self._door_token = cluster_token()
        ports = {"channel": await self._channels.start(*channel), "http": await self._service.start(*http)}
        self._keeper.start()
        return ports

    async def drain(self, timeout_s: float) -> None:
        """Refuse what is new, finish what was admitted (within `timeout_s`), stop the worker, close everything."""
        if self.life.state is not State.DRAINING:
            self.life.move(State.DRAINING)
        log.info("draining")
        try:
            await asyncio.wait_for(self.dispatcher.drain(), timeout_s)
        except TimeoutError:
            self.dispatcher.give_up()
        await self._keeper.close(at_once=timeout_s <= 0)
        await self._channels.close()
        await self._service.close(min(timeout_s, 2.0))


def _measured(path: Path | None) -> tuple[tuple[int, float], ...]:
    """The points in a file of `crema bench`; none when there is no such file that can be read: the warm-up will do."""
    if path is None:
        return ()
    try:
        return MeasuredCurve.read(path).points
    except CurveFileInvalid as error:
        log.warning("curve_not_used", problem=str(error))
        return ()


async def serve(args: argparse.Namespace, manifest: Manifest, stop: Stop) -> None:
    """Run one minion until it is asked to stop."""
    remove_abandoned()
    folder = RunFolder()
    light_ring = args.light or make_light_ring(folder.path / "light")
    needed = [args.python, args.python.parent.parent, light_ring / "crema" / "worker.py", folder.open_up()]
    needed += [manifest.package_dir, *manifest.package_dir.rglob("*")]
    user = worker_user(manifest.name, manifest.version, needed)
    plan = WorkerPlan(
        python=args.python,
        package_dir=manifest.package_dir,
        card=manifest.card(),
        light_ring=light_ring,
        run_folder=folder.path,
        device=args.device,
        warmup=args.warmup if user is None or args.warmup is None else folder.lend(args.warmup),
        load_s=manifest.load_s,
        workers=manifest.workers,
        arena=arena_for(manifest.gate.max_pending, manifest.input.item_bytes),
        user=user,
    )
    minion = Minion(manifest, plan, _measured(args.curve))
    ports = await minion.start(args.channel, args.http)
    announce(args, ports)
    limits = {"places": plan.card["gate"]["max_pending"], **plan.card["batching"], **plan.card["slo"]}
    log.info("listening", device=args.device, **ports, **limits)
    spare_collector()
    await stop.wait()
    await minion.drain(0.0 if is_orphan(args) else DRAIN_S)
    folder.remove()
