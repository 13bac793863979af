"""Health: what a process said of itself on `/readyz`, checked. Nothing here asks; `readiness` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MOST_TRACE: Final = 4000

STATES: Final = frozenset({"starting", "ready", "busy", "degraded", "draining", "failed"})


@dataclass(frozen=True, slots=True)
class Part:
    """A process inside a process: a worker of a minion, a decoder of a preprocessor."""

    pid: int
    state: str


@dataclass(frozen=True, slots=True)
class Health:
    """One answer of `/readyz`. `ready_of` is the coordinator's count of ready replicas per model name."""

    is_ready: bool
    state: str
    problem: str | None = None
    parts: tuple[Part, ...] = ()
    ready_of: tuple[tuple[str, int], ...] = ()
    traceback: str | None = None
    """What follows the first line of the problem: a model's own traceback, or its last output."""
    revision: int | None = None
    """Of the routing file that a coordinator goes by; None of other tiers."""
    default_of: tuple[tuple[str, str], ...] = ()
    """The version that a coordinator takes each model's bare name for."""

    @classmethod
    def parse(cls, body: Any) -> Health:
        """The body of `/readyz`. Raises ValueError when it is not one."""
        if not isinstance(body, dict) or type(body.get("ready")) is not bool:
            raise ValueError("the answer of /readyz has no boolean `ready`")
        is_ready: bool = body["ready"]
        counts = _counts(body.get("models"))
        state = body.get("state")
        if not isinstance(state, str) or state not in STATES:
            some = any(count > 0 for _, count in counts)
            state = "ready" if is_ready else "degraded" if some else "starting"
        problem = body.get("problem")
        return cls(
            is_ready,
            state,
            _first_line(problem) if problem else None,
            _parts(body.get("workers")),
            counts,
            _further_lines(problem) if problem else None,
            body["revision"] if type(body.get("revision")) is int else None,
            _defaults(body.get("models")),
        )


def _parts(written: Any) -> tuple[Part, ...]:
    entries = written if isinstance(written, list) else []
    return tuple(
        Part(entry["pid"], str(entry.get("state", "starting")))
        for entry in entries
        if isinstance(entry, dict) and type(entry.get("pid")) is int
    )


def _counts(written: Any) -> tuple[tuple[str, int], ...]:
    entries = written if isinstance(written, dict) else {}
    return tuple(
        (str(name), entry["ready"])
        for name, entry in entries.items()
        if isinstance(entry, dict) and type(entry.get("ready")) is int
    )


def _defaults(written: Any) -> tuple[tuple[str, str], ...]:
    entries = written if isinstance(written, dict) else {}
    return tuple(
        (str(name), entry["version"])
        for name, entry in entries.items()
        if isinstance(entry, dict) and isinstance(entry.get("version"), str)
    )


def _first_line(text: Any) -> str:
    """The first line that says something."""
    return next((line.strip() for line in str(text).splitlines() if line.strip()), "")[:500]


def _further_lines(text: Any) -> str | None:
    """What comes after it; of a long traceback the end, where the error is."""
    lines = [line.rstrip() for line in str(text).strip().splitlines()[1:]]
    return "\n".join(lines)[-MOST_TRACE:].strip("\n") or None
