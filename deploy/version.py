"""ServedVersion: one model version of the cluster, the minions that serve it, and what it is told to be."""

from __future__ import annotations

from pathlib import Path

from crema.host.config import ResolvedVersion
from deploy.child import Child
from deploy.gpus import Placement


class ServedVersion:
    """One version of the model `name` that is to run. `problem` is set when it cannot even be started."""

    def __init__(self, name: str, version: ResolvedVersion) -> None:
        self.name = name
        self.version = version
        self.python: Path | None = None
        """The Python of its virtualenv, once that is built."""
        self.profile: str | None = None
        """The lock profile that was chosen; None when none was needed."""
        self.problem: str | None = None
        self.warmup: Path | None = None
        self.digest: str | None = None
        """Of its package, where somebody asked for it: a measured curve and a check's report lie under it."""
        self.replicas: list[Child] = []
        self.placements: list[Placement] = []
        self.scaled_to: int | None = None
        """How many replicas the autoscaler wants, where it has said so."""
        self.is_draining = False
        self.starts_gently = False
        """Whether its minions let others have the cores until they are ready: it comes beside what serves."""

    @property
    def label(self) -> str:
        """`tags@3.1`."""
        return f"{self.name}@{self.version.version}"

    @property
    def wanted(self) -> int:
        """Replicas that should run."""
        return self.version.replicas_min if self.scaled_to is None else self.scaled_to

    @property
    def ready(self) -> list[Child]:
        """The replicas that may get traffic now."""
        return [child for child in self.replicas if child.is_ready]

    @property
    def state(self) -> str:
        """starting, ready, degraded (some of its replicas), failed or draining."""
        if self.is_draining:
            return "draining"
        count = len(self.ready)
        if count:
            return "ready" if count >= self.wanted else "degraded"
        if self.problem is not None or any(child.state == "failed" for child in self.replicas):
            return "failed"
        return "starting"

    @property
    def shown_problem(self) -> str | None:
        """Why it is not ready, in one line, where that is known."""
        if self.problem is not None:
            return self.problem
        return next((child.problem for child in self.replicas if not child.is_ready and child.problem), None)

    @property
    def traceback(self) -> str:
        """What its replicas said beyond the first line of their problem; may be empty."""
        told = (child.health.traceback for child in self.replicas if not child.is_ready and child.health)
        return next(filter(None, told), None) or ""

    @property
    def is_settled(self) -> bool:
        """Whether starting has come to an end: every replica ready, or the version failed."""
        return self.state in ("ready", "failed")
