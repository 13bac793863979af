"""A cluster of fake tiers: the real supervisor, with processes that only announce, answer /readyz and end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crema.host.config import ResolvedVersion
from deploy.environments import Chosen, EnvironmentFailed
from deploy.handover import Handover
from deploy.state_folder import StateFolder
from deploy.supervisor import Supervisor
from tests.deploy.toy_cluster import resolved

PATIENCE_S = 15.0


class Checks:
    """Every package passes, but for those whose label `problems` has."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.checked: list[str] = []
        self.holds: asyncio.Event | None = None
        """Keeps a check waiting that has begun; what it finds was found then."""

    async def of(self, package: Path, digest: str, progress: Callable[[str], None]) -> Handover:
        label = f"{package.parent.name}@{package.name}"
        self.checked.append(label)
        problem = self.problems.get(label)
        if self.holds is not None:
            await self.holds.wait()
        if problem is not None:
            return Handover(False, digest, problem, "Traceback\n  model.py")
        return Handover(True, digest)


class Pythons:
    """Our own Python for every version, but for those that `fails` names; `holds` keeps the first one waiting."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.holds: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def python_of(self, version: ResolvedVersion, progress: Callable[[str], None]) -> Chosen:
        self.asked.set()
        if self.holds is not None:
            await self.holds.wait()
        if version.manifest.name in self.fails:
            raise EnvironmentFailed("has no lock\n  try: crema lock")
        return Chosen(Path(sys.executable), None, "ours")


class Lines:
    """A display that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str]] = []

    def working(self, text: str | None) -> None:
        pass

    def line(self, state: str, what: str, detail: str = "", problem: str = "") -> None:
        self.lines.append((state, what, detail, problem))

    def of(self, state: str) -> list[str]:
        return [line[1] for line in self.lines if line[0] == state]


class Site:
    """A folder with two models, and the supervisor that serves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pythons = Pythons()
        self.display = Lines()
        self.checks = Checks()
        self.urls: list[str] = []
        self.state = StateFolder(folder / ".crema")
        self.supervisor: Supervisor | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self, more: str = "") -> None:
        async def once_ready(url: str) -> None:
            self.urls.append(url)

        self.state.hold()
        self.supervisor = Supervisor(
            resolved(self.folder, more),
            self.state,
            self.pythons,
            self.display,
            once_ready=once_ready,
            handovers=self.checks,
        )
        self.task = asyncio.create_task(self.supervisor.run())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert self.task is not None
                if self.task.done():
                    await self.task
                await asyncio.sleep(0.02)

    async def serving(self, more: str = "") -> None:
        self.start(more)
        await self.until(lambda: bool(self.urls))

    async def stop(self) -> None:
        if self.supervisor is not None and self.task is not None:
            self.supervisor.stop()
            await asyncio.gather(self.task, return_exceptions=True)
            self.state.release()

    def status(self) -> dict[str, Any]:
        assert self.supervisor is not None
        return self.supervisor.status()

    def pid(self, tier: str) -> int:
        return next(row["pid"] for row in self.status()["processes"] if row["tier"] == tier)  # type: ignore[no-any-return]

    def routing(self) -> dict[str, Any]:
        return json.loads(self.state.routing.read_text())  # type: ignore[no-any-return]

    def replicas(self, model: str) -> list[str]:
        return list(self.routing()["models"][model]["versions"]["1.0"]["replicas"])

    def tell(self, tier: str, **body: object) -> None:
        """What the fake tier answers, or does at its next start."""
        (self.folder / tier).write_text(json.dumps(body))

    def diary(self) -> list[str]:
        return (self.folder / "diary").read_text().splitlines()
