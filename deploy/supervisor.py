"""Supervisor: one cluster on one machine, from a checked cluster file to the end of its last process.

It builds what is missing, starts the tiers, keeps them alive, and leaves no process behind. It decides nothing about
requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import structlog

from crema.host.audit import AUDIT_FILE, Audit
from crema.host.config import ResolvedCluster
from deploy.canary_watch import CanaryWatch, Figures, read_figures, rule_of
from deploy.child import Child
from deploy.control import Control, Verb
from deploy.display import Display
from deploy.environments import Environments
from deploy.fleet import Fleet
from deploy.gpus import find_gpus
from deploy.handover import Checks, Handovers
from deploy.odd_folders import OddFolders
from deploy.orphans import collect_orphans
from deploy.package_watch import PackageWatch
from deploy.pointers import ReleaseRefused
from deploy.ports import check_free
from deploy.readiness import Readiness
from deploy.refusals import Refusals, without_refused
from deploy.release_book import ReleaseBook
from deploy.releases import ReleaseParts, Releases
from deploy.replica_changes import Leaving, ScaledFleet
from deploy.routing_file import read_body
from deploy.scaling import Scaling
from deploy.starter import Starter
from deploy.state_folder import StateFolder, children_written
from deploy.status_view import status_document
from deploy.tiers import LOOPBACK
from deploy.version import ServedVersion
from deploy.version_starts import Progress

# The whole of stopping; each tier's own drain is bounded by 25 s.
STOP_S: Final = 28.0
# Past a version's own time to load, what is missing is shown and the rest serves.
SETTLE_MARGIN_S: Final = 60.0
TEND_S: Final = 10.0

log = structlog.get_logger(__name__)


class NothingToServe(Exception):
    """Not one version could be started; the text says why, or what to do."""


class Supervisor:
    """Runs `cluster` until `stop`. The state folder is held by this process already.

    `once_ready(url)` is run with the public API's URL when everything that can be ready is.
    """

    def __init__(
        self,
        cluster: ResolvedCluster,
        state_folder: StateFolder,
        environments: Environments,
        display: Display,
        *,
        once_ready: Callable[[str], Awaitable[None]] | None = None,
        started_from: Path | None = None,
        log_level: str = "info",
        handovers: Checks | None = None,
    ) -> None:
        refusals = Refusals(state_folder.path / "refused.json", cluster.config.packages_dir)
        cluster = without_refused(cluster, refusals)
        self._cluster = cluster
        self._config = cluster.config
        self._folder = state_folder
        self._display = display
        self._once_ready = once_ready
        self._started_from = started_from
        self._readiness = Readiness()
        self._book = ReleaseBook(cluster, read_body(state_folder.routing))
        self._fleet = Fleet(
            cluster, state_folder, self._book, self._readiness, self._child_changed, log_level
        )
        self._starter = Starter(self._fleet, state_folder, environments, display, self._fail)
        self._refusals = refusals
        self._odd = OddFolders(display)
        self._releases = Releases(
            ReleaseParts(
                cluster=cluster,
                book=self._book,
                fleet=self._fleet,
                starter=self._starter,
                handovers=handovers or Handovers(state_folder.path, cluster.config.path),
                refusals=refusals,
                audit=Audit(state_folder.path / AUDIT_FILE),
                display=display,
            )
        )
        self._canaries = CanaryWatch(
            self._book, rule_of(self._config.releases), self._figures, self._releases.take_back
        )
        self._leaving = Leaving(self._fleet)
        scaled = ScaledFleet(self._config.preprocessor.replicas, self._fleet, self._starter, self._leaving)
        self._scaling = Scaling(self._config.autoscaling, scaled.now, self._metrics)
        self._control = Control(state_folder.control_socket(), self.status, self._verbs())
        self._is_serving = False
        self._is_stopping = asyncio.Event()
        self._shown_ready: dict[str, bool] = {}

    async def run(self) -> None:
        """Start, serve until `stop`, stop. Raises PortTaken or NothingToServe, with everything stopped again."""
        async with self._readiness:
            beside = [asyncio.create_task(collect_orphans()), asyncio.create_task(self._tend())]
            try:
                await self._unless_stopped(self._start())
                beside += self._begin_releases()
                beside.append(scaling := asyncio.create_task(self._scaling.run()))
                await self._is_stopping.wait()
                scaling.cancel()
            finally:
                await self._releases.close()
                await self._stop_all()
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    def stop(self) -> None:
        """Begin to stop: drain, then end."""
        self._is_stopping.set()

    def kill(self) -> None:
        """End every process now."""
        self._fleet.kill()

    def status(self) -> dict[str, Any]:
        """The status document (design: 6.3)."""
        state = "draining" if self._is_stopping.is_set() else "ready" if self._is_serving else "starting"
        return status_document(
            cluster=str(self._config.path),
            state=state,
            urls=self._fleet.urls(),
            refused=[*self._cluster.refused, *self._refusals, *self._odd],
            doing=self._releases.doing,
            book=self._book,
            notes=self._notes(),
            scaling=self._scaling.said,
            **self._fleet.parts(),
        )

    # -- starting --------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._prepare()
        self._show_refused()
        self._fleet.publish()
        self._fleet.start_preprocessors()
        # before the models: a caller who comes early is told that they are starting
        self._fleet.start_coordinators(self._config.coordinator.processes)
        await self._start_versions()
        await self._settle()
        self._say_what_serves()
        await self._tell_ready()

    async def _prepare(self) -> None:
        left = await asyncio.to_thread(self._folder.end_leftovers)
        if left:
            self._display.line(
                "NOTE", "leftovers", f"{len(left)} processes of a killed cluster did not end by themselves"
            )
        # what lies there now is not new
        self._packages = await asyncio.to_thread(
            PackageWatch,
            self._config.packages_dir,
            self._releases.dropped_in,
            self._releases.gone,
            self._odd.found,
        )
        self._write_state()
        if self._started_from is not None:
            self._folder.point_from(self._started_from)
        await self._control.start()
        await check_free(self._config.coordinator.listen, "coordinator.listen")
        await check_free(self._config.coordinator.operations, "coordinator.operations")
        self._starter.gpus = await asyncio.to_thread(find_gpus)

    def _show_refused(self) -> None:
        """Packages that nobody asked for by name and whose manifests are wrong."""
        for package in self._cluster.refused:
            log.error(
                "package_refused",
                version=f"{package.name}@{package.version}",
                mistakes=list(map(str, package.mistakes)),
            )
            self._display.line("FAILED", f"{package.name}@{package.version}", problem=package.problem)

    async def _start_versions(self) -> None:
        """Environments one after the other, because building one takes the whole machine; the minions of one version
        load while the next one's is built."""
        starting: list[asyncio.Task[None]] = []
        try:
            for served in self._fleet.versions:
                if await self._starter.find_python(served, self._progress_of(served)):
                    starting.append(asyncio.create_task(self._starter.start_minions(served)))
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
        if not self._fleet.versions:
            raise NothingToServe(
                f"there are no packages in {self._config.packages_dir}\n  put one there: NAME/VERSION/model.yaml"
            )
        if all(served.problem is not None for served in self._fleet.versions):
            raise NothingToServe("no version of any model can be started: the reasons stand above")

    def _progress_of(self, served: ServedVersion) -> Callable[[str], None]:
        return lambda text: self._display.working(f"environment of {served.label}: {text}")

    async def _settle(self) -> None:
        """Wait until every version is ready or failed, and the coordinators know it."""
        longest = max(served.version.manifest.load_s for served in self._fleet.versions)
        async for _ in self._fleet.changes(longest + SETTLE_MARGIN_S):
            waiting = [served.label for served in self._fleet.versions if not served.is_settled]
            if not any(child.is_ready for child in self._fleet.preprocessors):
                waiting.append("preprocessor")
            if not waiting and not all(self._is_up_to_date(child) for child in self._fleet.coordinators):
                waiting.append("coordinator")
            if not waiting:
                break
            self._display.working(f"waiting for {', '.join(waiting)}")
        self._display.working(None)

    def _is_up_to_date(self, coordinator: Child) -> bool:
        """Whether a coordinator has heard of every default version that is ready."""
        if coordinator.health is None:
            return False
        known = dict(coordinator.health.ready_of)
        defaults = [
            served
            for served in self._fleet.versions
            if served.version.version == self._book.default(served.name)
        ]
        failed = [served for served in defaults if served.state == "failed"]
        return coordinator.is_ready or (
            bool(failed) and all(known.get(served.name, 0) > 0 for served in defaults if served.ready)
        )

    async def _tell_ready(self) -> None:
        url = self._fleet.urls().get("api")
        if self._once_ready is None or url is None:
            return
        try:
            await self._once_ready(url)
        except Exception as error:  # what is done with a cluster that serves is no reason to end it
            log.exception("once_ready_failed")
            self._display.line("NOTE", "api", url, problem=f"the first call failed: {error!r}")

    def _say_what_serves(self) -> None:
        self._is_serving = True
        for served in self._fleet.versions:
            self._show(served)
        for name, url in self._fleet.urls().items():
            self._display.line("READY", name, url)
        self._write_state()
        log.info("serving", **self._fleet.urls())

    # -- serving ---------------------------------------------------------------------------------------------------

    def _fail(self, served: ServedVersion, problem: str) -> None:
        """A version cannot be started: the others can."""
        served.problem = " ".join(problem.split())
        log.error("version_failed", version=served.label, error=problem)
        self._display.line("FAILED", served.label, problem=problem)
        self._shown_ready[served.label] = False
        self._fleet.publish()
        self._fleet.wake()

    def _child_changed(self, child: Child) -> None:
        # on a full disk it stays as it was: only what a killed supervisor leaves behind is in it
        with contextlib.suppress(OSError):
            self._write_state()
        if self._is_stopping.is_set() or not self._is_serving:
            return
        if child.pid is None and child.problem:
            self._display.line("RESTART", child.name, problem=child.problem)
        for served in self._fleet.versions:
            if child in served.replicas:
                self._show(served)

    def _show(self, served: ServedVersion) -> None:
        """Say that a version became ready, or ceased to be: not every step between."""
        is_ready = bool(served.ready)
        if self._shown_ready.get(served.label) == is_ready:
            return
        self._shown_ready[served.label] = is_ready
        if is_ready:
            self._display.line(
                served.state.upper(), served.label, f"{len(served.ready)} of {served.wanted} replicas"
            )
        else:
            self._display.line(
                served.state.upper(), served.label, problem=served.shown_problem or "not ready"
            )

    def _write_state(self) -> None:
        urls = self._fleet.urls()
        self._folder.write(
            {
                "pid": os.getpid(),
                "cluster": str(self._config.path),
                "control": str(self._folder.control_socket()),
                "public": urls.get("api"),
                "operations": urls.get("metrics"),
                "children": children_written(self._fleet.pids()),
            }
        )

    # -- releases --------------------------------------------------------------------------------------------------

    def _verbs(self) -> dict[str, Verb]:
        """The release verbs, as the control socket takes them. None runs before the cluster serves."""

        def when_serving(verb: Callable[[dict[str, Any], Progress], Awaitable[dict[str, Any]]]) -> Verb:
            async def run(asked: dict[str, Any], progress: Progress) -> dict[str, Any]:
                if not self._is_serving or self._is_stopping.is_set():
                    raise ReleaseRefused("the cluster is starting or stopping\n  see: crema status")
                return await verb(asked, progress)

            return run

        releases = self._releases
        verbs = {
            "release": lambda asked, progress: releases.release(
                asked["package"], asked["canary_percent"], progress
            ),
            "promote": lambda asked, progress: releases.promote(asked["model"], asked["version"], progress),
            "rollback": lambda asked, progress: releases.rollback(asked["model"], progress),
            "retire": lambda asked, progress: releases.retire(asked["model"], asked["version"], progress),
        }
        return {name: when_serving(verb) for name, verb in verbs.items()}

    def _begin_releases(self) -> list[asyncio.Task[None]]:
        """Watch canaries, and the packages folder where the cluster file does not say otherwise."""
        tasks = [asyncio.create_task(self._canaries.run())]
        if self._config.releases.watch:
            tasks.append(asyncio.create_task(self._packages.run()))
        return tasks

    async def _figures(self) -> Figures:
        async def ask(child: Child) -> Any:
            return await self._readiness.read(f"{LOOPBACK}:{child.ports['http']}", "/versions")

        return await read_figures(self._fleet.coordinators, ask)

    async def _metrics(self, child: Child) -> str | None:
        return await self._readiness.read_text(f"{LOOPBACK}:{child.ports['http']}", "/metrics")

    def _notes(self) -> dict[str, str]:
        """By version, what `crema status` says of it besides its state."""
        judged = {label: f"canary: {decision.reason}" for label, decision in self._canaries.said.items()}
        return {**self._releases.notes, **judged}

    async def _tend(self) -> None:
        """What nobody asks for: logs stay bounded, and what a full disk refused is written when it can be."""
        while True:
            await asyncio.sleep(TEND_S)
            self._fleet.publish()
            await asyncio.to_thread(self._fleet.trim_logs)
            await asyncio.to_thread(self._folder.log_file("supervisor").trim)

    # -- stopping --------------------------------------------------------------------------------------------------

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._is_stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            for unfinished in (task, stopping):
                unfinished.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def _stop_all(self) -> None:
        self._is_stopping.set()
        self._display.working("stopping: what is in flight is finished; Ctrl-C again ends everything at once")
        log.info("stopping")
        await asyncio.gather(self._fleet.stop(STOP_S), self._leaving.close(STOP_S))
        await self._control.close()
        self._display.working(None)
        log.info("stopped")
