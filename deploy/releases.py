"""Releases: the release verbs on a running cluster, and what comes of packages that are dropped in.

A version gets traffic only after it passed its checklist and is ready; a model's name moves only onto a ready version; a
version that is taken out is drained only once no coordinator sends to it any more. Each verb is one change of the
routing file, and leaves one record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog

from crema.host.audit import Audit
from crema.host.config import ResolvedCluster
from crema.host.config_releases import DEFAULT
from crema.host.package_paths import package_digest
from crema.host.packages import PackageFolder, find_packages
from crema.names import parse_version
from deploy.canary_rule import Decision
from deploy.display import Display
from deploy.fleet import Fleet
from deploy.handover import Checks
from deploy.package_intake import meant, take_in
from deploy.pointers import BESIDE, Line, Pointers, ReleaseRefused
from deploy.refusals import NotServed, Refusals
from deploy.release_book import ReleaseBook
from deploy.starter import Starter
from deploy.version import ServedVersion
from deploy.version_starts import Progress, VersionStarts

# A coordinator puts a routing in force within a second.
IN_FORCE_S: Final = 10.0
# Calls that were on their way to a version when it left the routing have reached it, or found another, by then.
LINGER_S: Final = 6.0
DRAIN_S: Final = 25.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReleaseParts:
    """What the releases work with."""

    cluster: ResolvedCluster
    book: ReleaseBook
    fleet: Fleet
    starter: Starter
    handovers: Checks
    refusals: Refusals
    audit: Audit
    display: Display


class Releases:
    """The verbs. All run on the cluster's loop; only what moves pointers waits for its turn."""

    def __init__(self, parts: ReleaseParts, linger_s: float = LINGER_S) -> None:
        self.notes: dict[str, str] = {}
        """By `name@version`: what there is to know of a version besides its state."""
        self._cluster = parts.cluster
        self._book = parts.book
        self._fleet = parts.fleet
        self._starts = VersionStarts(
            parts.cluster, parts.fleet, parts.starter, parts.handovers, parts.refusals
        )
        self._refusals = parts.refusals
        self._audit = parts.audit
        self._display = parts.display
        self._linger_s = linger_s
        self._moving = asyncio.Lock()
        # those that can be had back still: nothing of them has been stopped
        self._lingering: dict[str, asyncio.Task[None]] = {}
        self._by_hand: set[str] = set()
        self._again: dict[str, PackageFolder] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def doing(self) -> dict[str, str]:
        """By `name@version`: what is being done with one that is not among the fleet's yet, or starts."""
        return self._starts.doing

    async def close(self) -> None:
        """Give up what is under way; the fleet's processes are stopped by whoever stops the fleet."""
        tasks = [*self._tasks, *self._starts.tasks, *self._lingering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the verbs -------------------------------------------------------------------------------------------------

    async def release(self, package: str, percent: float | None, progress: Progress) -> dict[str, Any]:
        """Check a package, start it beside what serves, and give it a canary's share, if one is wanted.

        Returns when that is in force. Raises ReleaseRefused.
        """
        with self._record("release", package=package, canary_percent=percent) as record:
            packages_dir = self._cluster.config.packages_dir
            path = await asyncio.to_thread(meant, package, packages_dir)
            label = f"{path.absolute().parent.name}@{path.name}"
            self._by_hand.add(label)
            try:
                try:
                    folder = await asyncio.to_thread(take_in, path, packages_dir)
                except OSError as error:
                    raise ReleaseRefused(f"the package cannot be copied: {error}") from None
                record["version"] = folder.label
                served = await self._serve(folder, progress)
                record["digest"] = served.digest
            finally:
                self._by_hand.discard(label)
            version = str(folder.version)
            async with self._moving:
                line = self._book.line(folder.name)
                if line is None:
                    to = self._book.begin(folder.name, version)
                else:
                    beside = line.now.beside(version)
                    to = line.moved(beside if percent is None else beside.canary(version, percent))
                return await self._move(folder.name, to, progress)

    async def promote(self, name: str, version: str, progress: Progress) -> dict[str, Any]:
        """Make a model's name mean a version that serves. Raises ReleaseRefused."""
        with self._record("promote", version=f"{name}@{version}") as record:
            async with self._moving:
                line = self._line(name)
                to = line.moved(line.now.promote(version))
                record |= {"from": line.now.default, "digest": await self._digest(name, version)}
                return await self._move(name, to, progress)

    async def rollback(self, name: str, progress: Progress) -> dict[str, Any]:
        """Bring back the state before the last verb; versions that were retired are started. Raises ReleaseRefused."""
        with self._record("rollback", model=name) as record:
            async with self._moving:
                to = self._line(name).back()
                while missing := [each for each in to.now.shares if not self._is_up(name, each)]:
                    for version in missing:
                        await self._serve(self._folder(name, version), progress, was_checked=True)
                    # a canary may have been taken back meanwhile
                    to = self._line(name).back()
                record |= {"from": self._line(name).now.document(), "to": to.now.document()}
                record["digest"] = await self._digest(name, to.now.default)
                return await self._move(name, to, progress)

    async def retire(self, name: str, version: str, progress: Progress) -> dict[str, Any]:
        """Take a version out: nobody is sent to it any more, then its minions finish what they hold and end.

        Returns when nobody is. Raises ReleaseRefused.
        """
        with self._record("retire", version=f"{name}@{version}") as record:
            async with self._moving:
                line = self._line(name)
                to = line.moved(line.now.retire(version))
                record["digest"] = await self._digest(name, version)
                return await self._move(name, to, progress)

    def take_back(self, name: str, version: str, decision: Decision) -> None:
        """A canary did worse than its rule allows: its share is gone with the next routing. Nobody waits for its turn."""
        label = f"{name}@{version}"
        line = self._book.line(name)
        if line is None:
            return
        log.warning(
            "canary_taken_back",
            version=label,
            reason=decision.reason,
            canary=decision.canary,
            live=decision.live,
        )
        self.notes[label] = f"canary taken back: {decision.reason}"
        self._display.line("NOTE", label, "canary taken back", decision.reason)
        # a disk that keeps no record must not keep a bad canary
        with (
            contextlib.suppress(OSError),
            self._audit.call(
                "take_back", version=label, reason=decision.reason, canary=decision.canary, live=decision.live
            ),
        ):
            pass
        self._put(name, line.without_canary(version))

    # -- packages that come and go by themselves ---------------------------------------------------------------------

    def dropped_in(self, folder: PackageFolder) -> None:
        """A version folder appeared, or one changed. What comes of it is said by the cluster file's `releases`."""
        label = folder.label
        if label in self._by_hand:
            return
        if self._starts.is_under_way(label):
            # a slow copy was taken for whole while it paused: it is looked at again after this
            self._again[label] = folder
            return
        running = self._fleet.find(folder.name, str(folder.version))
        if running is not None and not running.is_draining:
            self._begin(self._look_at_changed(running))
        else:
            self._begin(self._drop_in(folder))

    def gone(self, label: str) -> None:
        """A version folder is not there any more."""
        self._refusals.forget(label)
        name, _, version = label.partition("@")
        if self._fleet.find(name, version) is not None:
            self._display.line("NOTE", label, "its folder is gone: it serves until its processes end")

    async def _drop_in(self, folder: PackageFolder) -> None:
        name, version, label = folder.name, str(folder.version), folder.label
        self._display.line("NEW", label, str(folder.path))

        def progress(text: str) -> None:
            self._display.working(f"{label}: {text}")

        try:
            with self._record("drop_in", version=label) as record:
                served = await self._serve(folder, progress)
                record["digest"] = served.digest
                async with self._moving:
                    line = self._book.line(name)
                    if line is None:
                        to = self._book.begin(name, version)
                    else:
                        to = line.moved(self._by_policy(line.now, version))
                    told = await self._move(name, to, progress)
            self._display.line("READY", label, told["says"])
        except NotServed as error:
            self._display.line("FAILED", label, problem=error.problem)
        except ReleaseRefused as error:
            self._display.line("NOTE", label, problem=str(error))
        finally:
            self._display.working(None)
            if (again := self._again.pop(label, None)) is not None:
                self.dropped_in(again)

    def _by_policy(self, now: Pointers, version: str) -> Pointers:
        """What a version that was dropped in gets; an older one than the default never more than a place beside it."""
        beside = now.beside(version)
        policy = self._cluster.config.releases
        new, default = parse_version(version), parse_version(now.default)
        if new < default:
            return beside
        if policy.canary_percent is not None:
            return beside.canary(version, policy.canary_percent)
        newest = max(
            parse_version(each) for each in beside.shares if parse_version(each).major == default.major
        )
        if policy.new_version == DEFAULT and new == newest:
            return beside.promote(version)
        return beside

    async def _look_at_changed(self, running: ServedVersion) -> None:
        digest = await asyncio.to_thread(package_digest, running.version.package_dir)
        if running.digest is not None and running.digest != digest:
            self.notes[running.label] = "its files changed while it serves: make a new version of them"
            self._display.line("NOTE", running.label, problem=self.notes[running.label])

    # -- starting --------------------------------------------------------------------------------------------------

    async def _serve(
        self, folder: PackageFolder, progress: Progress, *, was_checked: bool = False
    ) -> ServedVersion:
        """The version of a folder, ready. Started when it does not run; one that lingers stays. Raises NotServed."""
        label = folder.label
        if (lingering := self._lingering.pop(label, None)) is not None:
            lingering.cancel()
            await asyncio.gather(lingering, return_exceptions=True)
        running = self._fleet.find(folder.name, str(folder.version))
        if lingering is not None and running is not None:
            running.is_draining = False
        if running is not None and not running.is_draining and not self._starts.is_under_way(label):
            await self._check_runs(running)
            return running
        return await self._starts.start(folder, progress, was_checked=was_checked)

    async def _check_runs(self, running: ServedVersion) -> None:
        """Raises NotServed when a version that runs is not ready, or is not what lies in its folder any more."""
        if not running.ready:
            problem = running.shown_problem or running.state
            raise NotServed(f"{running.label} runs and is not ready: {problem}")
        if running.digest is not None:
            with contextlib.suppress(OSError):
                found = await asyncio.to_thread(package_digest, running.version.package_dir)
                if found != running.digest:
                    raise NotServed(
                        f"the files of {running.label} changed while it serves: make a new version of them"
                    )

    # -- moving ----------------------------------------------------------------------------------------------------

    async def _move(self, name: str, to: Line, progress: Progress) -> dict[str, Any]:
        """Put a line down, and wait until it is in force."""
        served = self._fleet.find(name, to.now.default)
        if served is None or not served.ready:
            problem = served.shown_problem if served is not None else "it does not run"
            raise ReleaseRefused(
                f"{name}@{to.now.default} is not ready: {problem or 'it is starting'}\n  see: crema status"
            )
        progress("telling the coordinators")
        revision = self._put(name, to)
        if not await self._fleet.is_in_force(revision, {name: to.now.default}, IN_FORCE_S):
            raise ReleaseRefused(
                f"the routing was written (revision {revision}), and not every coordinator goes by it after {IN_FORCE_S:g} s\n"
                "  see: crema status"
            )
        log.info("released", model=name, revision=revision, **to.now.document())
        return self._told(name, revision)

    def _put(self, name: str, to: Line) -> int:
        """Publish a line, and drain what it does not list any more. Raises ReleaseRefused when it cannot be written."""
        before = self._book.line(name)
        self._book.put(name, to)
        try:
            revision = self._fleet.publish_or_raise()
        except OSError as error:
            self._book.put(name, before)
            raise ReleaseRefused(f"the routing file cannot be written: {error}") from None
        for version in (before.now.shares.keys() if before else set()) - to.now.shares.keys():
            served = self._fleet.find(name, version)
            if served is not None and not served.is_draining:
                served.is_draining = True
                self._lingering[served.label] = asyncio.create_task(self._drain(served, revision))
        for version, share in to.now.shares.items():
            if share != BESIDE:
                # what was said of an earlier try is over
                self.notes.pop(f"{name}@{version}", None)
        self._fleet.wake()
        return revision

    async def _drain(self, served: ServedVersion, revision: int) -> None:
        while not await self._fleet.is_in_force(revision, {}, IN_FORCE_S):
            log.warning("drain_waits", version=served.label, revision=revision)
        await asyncio.sleep(self._linger_s)
        self._lingering.pop(served.label, None)
        self._begin(self._stop(served))

    async def _stop(self, served: ServedVersion) -> None:
        await self._starts.end(served, DRAIN_S)
        self.notes.pop(served.label, None)
        self._display.line("STOPPED", served.label)

    # -- what is known ---------------------------------------------------------------------------------------------

    def _line(self, name: str) -> Line:
        line = self._book.line(name)
        if line is None:
            raise ReleaseRefused(f"no model {name} serves here\n  see: crema models")
        return line

    def _folder(self, name: str, version: str) -> PackageFolder:
        with contextlib.suppress(OSError):
            folder = find_packages(self._cluster.config.packages_dir).find(name, version)
            if folder is not None:
                return folder
        raise ReleaseRefused(
            f"{name}@{version} served before, and its package is not there any more\n  try: crema release PATH"
        )

    def _is_up(self, name: str, version: str) -> bool:
        served = self._fleet.find(name, version)
        return served is not None and not served.is_draining

    async def _digest(self, name: str, version: str) -> str | None:
        """Of a version's package, for the record."""
        served = self._fleet.find(name, version)
        if served is not None and served.digest is None:
            with contextlib.suppress(OSError):
                served.digest = await asyncio.to_thread(package_digest, served.version.package_dir)
        return None if served is None else served.digest

    def _told(self, name: str, revision: int) -> dict[str, Any]:
        """What a verb answers."""
        states = {
            served.version.version: served.state for served in self._fleet.versions if served.name == name
        }
        return self._line(name).now.told(name, revision, states)

    @contextlib.contextmanager
    def _record(self, action: str, **what: Any) -> Iterator[dict[str, Any]]:
        try:
            with self._audit.call(action, **what) as record:
                yield record
        except OSError as error:
            raise ReleaseRefused(f"no record of this can be kept, so it is not done: {error}") from None

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("release_failed", exc_info=task.exception())
