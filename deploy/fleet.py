"""Fleet: every process of the cluster, and what the coordinators are told of them. It starts what it is asked to and
stops all in order; in which order things are built and started is the supervisor's.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from crema.host.config import Address, ResolvedCluster
from crema.host.measured_curve import curve_path
from crema.names import parse_version
from deploy.child import Child, Command
from deploy.gpus import Placement
from deploy.health import Health
from deploy.ports import is_one_address, listening
from deploy.readiness import Readiness
from deploy.release_book import ReleaseBook, first_versions
from deploy.routing_file import RoutingFile
from deploy.routing_view import routing_body
from deploy.state_folder import StateFolder
from deploy.tiers import (
    LOOPBACK,
    SharedDoor,
    Surroundings,
    coordinator_arguments,
    coordinator_command,
    minion_command,
    preprocessor_command,
)
from deploy.version import ServedVersion

log = structlog.get_logger(__name__)

# Looked again after this long even when nothing is said to have changed.
_LOOK_AGAIN_S: Final = 0.5
# What the minions, and then the preprocessors, get when those before them took all of the time.
_LAST_S: Final = 1.5


class Fleet:
    """The children of one cluster. `on_change(child)` is called after every change, once the routing file shows it."""

    def __init__(
        self,
        cluster: ResolvedCluster,
        state_folder: StateFolder,
        book: ReleaseBook,
        readiness: Readiness,
        on_change: Callable[[Child], None],
        log_level: str = "info",
    ) -> None:
        self.preprocessors: list[Child] = []
        self.coordinators: list[Child] = []
        self.leaving: dict[Child, ServedVersion | None] = {}
        """Replicas that are taken away while the others serve, with the version of each (None: a preprocessor)."""
        self.versions = first_versions(cluster, book)
        self.listen = cluster.config.coordinator.listen
        """Where the public API is; a port that was chosen free stands here once it is known."""
        self.operations = cluster.config.coordinator.operations
        self._cluster = cluster
        self._book = book
        self._folder = state_folder
        self._readiness = readiness
        self._on_change = on_change
        self._around = Surroundings(log_level, state_folder.scratch, cluster.config.preprocessor.formats)
        self.routing = RoutingFile(state_folder.routing, state_folder.routing_history)
        self._has_changed = asyncio.Event()
        self._door: SharedDoor | None = None

    @property
    def children(self) -> list[Child]:
        """All of them, in the order in which they are stopped."""
        minions = [child for served in self.versions for child in served.replicas]
        return [*self.coordinators, *minions, *self.preprocessors, *self.leaving]

    async def changes(self, timeout_s: float) -> AsyncIterator[None]:
        """Yields now and after every change, until `timeout_s` has passed. For one waiting loop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            changed = self._has_changed
            yield
            left = deadline - loop.time()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, _LOOK_AGAIN_S))

    # -- starting --------------------------------------------------------------------------------------------------

    def start_preprocessors(self) -> None:
        """Start the replicas of the preprocessor that there are at least."""
        for _ in range(self._cluster.config.preprocessor.replicas.min):
            self.start_preprocessor()

    def start_preprocessor(self) -> None:
        """Start one replica of the preprocessor."""
        config = self._cluster.config.preprocessor
        name, replica = self._free_name("preprocessor", self.preprocessors)
        command = preprocessor_command(
            config.ports, replica, config.workers, self._around, self._cluster.config.fetch
        )
        self._start(self.preprocessors, name, lambda: command)

    def start_minions(self, served: ServedVersion) -> None:
        """Start the wanted replicas of a version whose Python and placements are known."""
        for placement in served.placements:
            self.start_minion(served, placement)

    def start_minion(self, served: ServedVersion, placement: Placement) -> None:
        """Start one replica of a version whose Python is known."""
        assert served.python is not None
        name, replica = self._free_name(served.label, served.replicas)
        command = minion_command(
            served.version.package_dir, served.python, served.version.ports, replica,
            placement, served.warmup, self._around, self._curve(served, placement),
        )  # fmt: skip
        self._start(served.replicas, name, lambda: command, starts_gently=served.starts_gently)

    def _free_name(self, label: str, among: Iterable[Child]) -> tuple[str, int]:
        """The first name that no replica has, nor one that is leaving: ports and log go by its number."""
        taken = {child.name for child in (*among, *self.leaving)}
        return next((name, number) for number in count() if (name := f"{label}-{number}") not in taken)

    def _curve(self, served: ServedVersion, placement: Placement) -> Path | None:
        """What was measured of this version on this kind of device, where something was."""
        if served.digest is None:
            return None
        path = curve_path(self._folder.curves, served.digest, placement.device)
        return path if path.is_file() else None

    def start_coordinators(self, processes: int) -> None:
        """Start the coordinator in so many processes; they share their ports, and the metrics of several are one."""
        self.publish()
        if processes > 1 or (is_one_address(self.listen) and is_one_address(self.operations)):
            try:
                self._door = self._shared_door(processes)
            except OSError:
                # taken meanwhile: one that listens for itself says so in its own words, and tries again
                if processes > 1:
                    raise
        configured = coordinator_arguments(self._cluster.config)

        def command() -> Command:
            return coordinator_command(
                self._folder.routing,
                self.listen,
                self.operations,
                self._around,
                configured,
                self._door,
            )

        for process in range(processes):
            self._start(self.coordinators, f"coordinator-{process}", command)

    def _shared_door(self, processes: int) -> SharedDoor:
        """Held by this process too: a coordinator that is started again takes what waits there."""
        public, operations = listening(self.listen), listening(self.operations)
        if processes == 1:
            return SharedDoor(public, operations)
        metrics = self._folder.scratch / "coordinator-metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(mode=0o700)
        return SharedDoor(public, operations, metrics)

    def _start(
        self, among: list[Child], name: str, command: Callable[[], Command], *, starts_gently: bool = False
    ) -> None:
        async def probe(child: Child) -> None:
            await self._readiness.watch(child, f"{LOOPBACK}:{child.ports['http']}")

        child = Child(
            name, command, self._folder.log_file(name), probe=probe, on_change=self._changed, starts_gently=starts_gently
        )  # fmt: skip
        among.append(child)
        child.start()

    # -- what changes ----------------------------------------------------------------------------------------------

    def _changed(self, child: Child) -> None:
        if self.coordinators and child is self.coordinators[0] and child.ports:
            # callers know these ports by now: a coordinator that is started again takes the same
            self.listen = Address(self.listen.host, child.ports["public"])
            self.operations = Address(self.operations.host, child.ports["operations"])
        self.publish()
        self.wake()
        self._on_change(child)

    def wake(self) -> None:
        """Let who waits in `changes` look again."""
        self._has_changed.set()
        self._has_changed = asyncio.Event()

    def publish(self) -> None:
        """Bring the routing file up to date. A disk that is full is logged: the next call tries again."""
        try:
            self.publish_or_raise()
        except OSError as error:
            log.error("routing_not_written", error=str(error))

    def publish_or_raise(self) -> int:
        """Bring the routing file up to date and return its revision. Raises OSError."""
        body = routing_body(self._cluster.default_models, self.preprocessors, self.versions, self._book)
        self.routing.publish(body)
        return self.routing.revision

    async def is_in_force(self, revision: int, defaults: Mapping[str, str], timeout_s: float) -> bool:
        """Wait until every coordinator that answers goes by this revision or a later one, and takes the bare names for
        `defaults`. False when that takes longer than `timeout_s`."""
        async for _ in self.changes(timeout_s):
            if all(_goes_by(child.health, revision, defaults) for child in self.coordinators):
                return True
        return False

    # -- versions that come and go -----------------------------------------------------------------------------------

    def find(self, name: str, version: str) -> ServedVersion | None:
        """The version that runs, or is started or drained; of two the one that stays."""
        found = [each for each in self.versions if (each.name, each.version.version) == (name, version)]
        return min(found, key=lambda each: each.is_draining, default=None)

    def add(self, served: ServedVersion) -> None:
        """A version that comes while the others serve. Nothing of it is started by this."""
        self.versions.append(served)
        self.versions.sort(key=lambda each: (each.name, parse_version(each.version.version)))

    async def remove(self, served: ServedVersion, drain_s: float) -> None:
        """Drain its minions within `drain_s` and forget it. Nobody may be sent to it any more. Cancelled before they have
        ended, it leaves them to `stop`."""
        served.is_draining = True
        await _stop(served.replicas, drain_s)
        if served in self.versions:
            self.versions.remove(served)
        self.wake()

    # -- stopping --------------------------------------------------------------------------------------------------

    async def stop(self, timeout_s: float) -> None:
        """Drain and stop everything within `timeout_s`: coordinators first, because what they have in flight needs the
        others, then minions, then preprocessors."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        minions = [child for served in self.versions for child in served.replicas]
        if self._door is not None:
            # from here on the listeners live as long as the coordinators hold them
            self._door.close()
        await _stop(self.coordinators, deadline - 2 * _LAST_S - loop.time())
        await _stop(minions, deadline - _LAST_S - loop.time())
        await _stop(self.preprocessors, deadline - loop.time())

    def kill(self) -> None:
        """End every process now, without draining."""
        for child in self.children:
            child.kill()

    def trim_logs(self) -> None:
        """Put logs that grew over their limit aside."""
        for child in self.children:
            child.log_file.trim()

    def urls(self) -> dict[str, str]:
        """Where people reach the cluster; a port that is not known yet is left out."""
        found = {"api": self.listen, "metrics": self.operations}
        return {
            name: f"http://{Address(_reached_at(address.host), address.port)}"
            for name, address in found.items()
            if address.port
        }

    def pids(self) -> list[int]:
        """Of the children that run."""
        return [child.pid for child in self.children if child.pid is not None]

    def parts(self) -> dict[str, Any]:
        """The children by kind, as `status_document` takes them."""
        return {
            "coordinators": self.coordinators,
            "preprocessors": self.preprocessors,
            "versions": self.versions,
            "leaving": self.leaving,
        }


async def _stop(children: Iterable[Child], drain_s: float) -> None:
    await asyncio.gather(*(child.stop(max(0.0, drain_s)) for child in children))


def _goes_by(health: Health | None, revision: int, defaults: Mapping[str, str]) -> bool:
    """A coordinator that does not answer reads the file when it does again."""
    if health is None:
        return True
    if health.revision is not None and health.revision < revision:
        return False
    known = dict(health.default_of)
    return all(known.get(name, default) == default for name, default in defaults.items())


def _reached_at(host: str) -> str:
    """The address on which this machine reaches its own listener."""
    if host in ("0.0.0.0", ""):
        return LOOPBACK
    return "::1" if host == "::" else host
