"""VersionStarts: brings versions up: files read, checklist passed, environment found, minions ready. One start at a time each.

It decides nothing about traffic. What it brings up comes beside what serves, and so it lets that have the cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from crema.host.config import ResolvedCluster, resolve_version
from crema.host.manifest import ManifestError
from crema.host.package_paths import package_digest
from crema.host.packages import PackageFolder
from deploy.fleet import Fleet
from deploy.handover import Checks
from deploy.refusals import NotServed, Refusal, Refusals
from deploy.starter import Starter
from deploy.version import ServedVersion

# Past a version's own time to load.
READY_MARGIN_S: Final = 60.0
ENDED_S: Final = 2.0

Progress = Callable[[str], None]


class VersionStarts:
    """Use `start`. What was refused is kept among `refusals` until it starts well."""

    def __init__(
        self, cluster: ResolvedCluster, fleet: Fleet, starter: Starter, handovers: Checks, refusals: Refusals
    ) -> None:
        self.doing: dict[str, str] = {}
        """By `name@version`: what is being done."""
        self._cluster = cluster
        self._fleet = fleet
        self._starter = starter
        self._handovers = handovers
        self._refusals = refusals
        # a check takes the whole machine
        self._checking = asyncio.Lock()
        self._under_way: dict[str, asyncio.Task[ServedVersion]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[ServedVersion]]:
        """Of what is under way."""
        return list(self._under_way.values())

    def is_under_way(self, label: str) -> bool:
        """Whether a version is being started."""
        return label in self._under_way

    async def start(
        self, folder: PackageFolder, progress: Progress, *, was_checked: bool = False
    ) -> ServedVersion:
        """The version of a folder, ready; it joins a start that is under way. Raises NotServed."""
        label = folder.label
        if label not in self._under_way:

            def tell(text: str) -> None:
                self.doing[label] = text
                progress(text)

            def ended(_: asyncio.Task[ServedVersion]) -> None:
                self._under_way.pop(label, None)
                self.doing.pop(label, None)

            task = asyncio.create_task(self._start(folder, tell, was_checked))
            self._under_way[label] = task
            task.add_done_callback(ended)
        # whoever asked may give up; the other who asked may not
        return await asyncio.shield(self._under_way[label])

    async def end(self, served: ServedVersion, drain_s: float) -> None:
        """Stop a version's minions within `drain_s`."""
        await self._fleet.remove(served, drain_s)
        self._starter.give_back(served)

    async def _start(self, folder: PackageFolder, progress: Progress, was_checked: bool) -> ServedVersion:
        digest = ""
        try:
            progress("reading its files")
            digest = await asyncio.to_thread(package_digest, folder.path)
            served = await self._checked(folder, digest, progress, was_checked)
            await self._run(served, progress)
        except NotServed as error:
            self._refusals.keep(
                Refusal(folder.name, str(folder.version), error.problem, error.detail, digest)
            )
            raise
        except OSError as error:
            raise NotServed(f"its files cannot be read: {error}") from None
        self._refusals.forget(folder.label)
        return served

    async def _checked(
        self, folder: PackageFolder, digest: str, progress: Progress, was_checked: bool
    ) -> ServedVersion:
        try:
            version = await asyncio.to_thread(resolve_version, self._cluster.config, folder)
        except ManifestError as error:
            raise NotServed(f"manifest: {str(error.mistakes[0]).partition(chr(10))[0]}", str(error)) from None
        if not was_checked:
            async with self._checking:
                handover = await self._handovers.of(folder.path, digest, progress)
            if not handover.passed:
                raise NotServed(handover.problem, handover.detail)
        served = ServedVersion(folder.name, version)
        served.digest = digest
        return served

    async def _run(self, served: ServedVersion, progress: Progress) -> None:
        """Start a version's minions and wait until they are ready; on any failure nothing of it is left."""
        served.starts_gently = True
        self._fleet.add(served)
        try:
            progress("finding its environment")
            if await self._starter.find_python(served, progress):
                progress("starting")
                await self._starter.start_minions(served)
                async for _ in self._fleet.changes(served.version.manifest.load_s + READY_MARGIN_S):
                    if served.is_settled:
                        break
            if served.state != "ready":
                problem = (
                    served.shown_problem or f"did not become ready in {served.version.manifest.load_s:g} s"
                )
                raise NotServed(problem, served.traceback)
        except BaseException:
            await self.end(served, ENDED_S)
            raise
