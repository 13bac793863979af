"""Starter: what a version needs before its minions can run, and running them: its Python, a place for each, its warm-up.

It decides nothing about traffic.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from deploy.display import Display
from deploy.environments import EnvironmentFailed, Environments
from deploy.fleet import Fleet
from deploy.gpus import DoesNotFit, Gpus, Placement
from deploy.state_folder import StateFolder
from deploy.tiers import LOOPBACK
from deploy.version import ServedVersion
from deploy.warmup import WarmupFailed, warmup_file

PREPROCESSOR_S: Final = 60.0

log = structlog.get_logger(__name__)


class Starter:
    """Starts versions of a fleet. `failed(served, problem)` is called for one that cannot even be started."""

    def __init__(
        self,
        fleet: Fleet,
        folder: StateFolder,
        environments: Environments,
        display: Display,
        failed: Callable[[ServedVersion, str], None],
    ) -> None:
        self.gpus = Gpus()
        self._fleet = fleet
        self._folder = folder
        self._environments = environments
        self._display = display
        self._failed = failed

    async def find_python(self, served: ServedVersion, progress: Callable[[str], None]) -> bool:
        """Give a version its Python, built when it is missing. False when that failed."""
        try:
            chosen = await self._environments.python_of(served.version, progress)
        except EnvironmentFailed as error:
            self._failed(served, str(error))
            return False
        served.python, served.profile = chosen.python, chosen.profile
        self._display.line("BUILT" if chosen.is_new else "FOUND", served.label, chosen.words)
        return True

    async def start_minions(self, served: ServedVersion) -> None:
        """Start the minions of a version that has its Python. Does not wait for them to be ready."""
        manifest = served.version.manifest
        try:
            served.placements = [self.place(served) for _ in range(served.wanted)]
        except DoesNotFit as error:
            self._failed(served, str(error))
            return
        try:
            served.warmup = await warmup_file(manifest, self._folder.warmup, self._a_preprocessor)
        except WarmupFailed as error:
            log.warning("warmup_failed", version=served.label, error=str(error))
            self._display.line("NOTE", served.label, "warms up on zeros", problem=str(error))
        # hashing all of a package takes a while: only where something was measured
        if served.digest is None and self._folder.curves.is_dir():
            with contextlib.suppress(OSError):
                served.digest = await asyncio.to_thread(lambda: manifest.digest)
        self._fleet.start_minions(served)

    def place(self, served: ServedVersion) -> Placement:
        """A place for one minion more. Raises DoesNotFit."""
        resources = served.version.manifest.resources
        # a CPU build cannot use a GPU, whatever the machine has
        gpus = Gpus() if served.profile == "cpu" else self.gpus
        return gpus.place(resources.device, resources.gpu_memory_mb)

    def give_back(self, served: ServedVersion) -> None:
        """A version's minions have ended: what they had of the GPUs is free again."""
        for placement in served.placements:
            self.give_back_one(served, placement)
        served.placements = []

    def give_back_one(self, served: ServedVersion, placement: Placement) -> None:
        """One of its minions has ended for good."""
        self.gpus.give_back(placement, served.version.manifest.resources.gpu_memory_mb)

    async def _a_preprocessor(self) -> str:
        """The channel of a ready preprocessor, waited for."""
        async for _ in self._fleet.changes(PREPROCESSOR_S):
            for child in self._fleet.preprocessors:
                if child.is_ready:
                    return f"{LOOPBACK}:{child.ports['channel']}"
        raise WarmupFailed("no preprocessor became ready")
