"""Version figures: how each version's parts of all calls ended and how long they took, counted since this process began.

A release compares a canary with the version it is to replace by the growth of these counts; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from coordinator.merge import Part
from crema.host.http_responses import json_response
from crema.host.latency_steps import MOST_STEPS, step_of
from crema.host.service import OPEN, Route


class VersionTally:
    """The counts of one version."""

    __slots__ = ("failed", "good", "steps")

    def __init__(self) -> None:
        self.good = 0
        self.failed: dict[int, int] = {}
        """Parts that failed, by status."""
        self.steps = [0] * (MOST_STEPS + 1)
        """Parts that were good, by `crema.host.latency_steps`."""

    def codes(self) -> dict[int, int]:
        """How many parts ended with which status."""
        return {200: self.good, **self.failed} if self.good else self.failed


class VersionFigures:
    """Counts by (model, version). Kept in plain numbers: this is on the way of every answer."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], VersionTally] = {}

    def count(self, parts: Sequence[Part]) -> None:
        """The parts of one call have ended."""
        tallies = self._tallies
        for part in parts:
            tally = tallies.get((part.model, part.version))
            if tally is None:
                tally = tallies[part.model, part.version] = VersionTally()
            if part.error is None:
                tally.good += 1
                if part.timing is not None:
                    tally.steps[step_of(part.timing["total_ms"])] += 1
            else:
                status = part.error.status
                tally.failed[status] = tally.failed.get(status, 0) + 1

    def ended(self) -> Iterator[tuple[tuple[str, str, int], int]]:
        """((model, version, status), parts that ended so)."""
        for (model, version), tally in self._tallies.items():
            for status, count in tally.codes().items():
                yield (model, version, status), count

    def document(self) -> dict[str, Any]:
        """`{"versions": {"tags@3.1": {"codes": {"200": 7}, "latency": {"67": 7}}}}`; `latency` holds the answers that were
        good, by `crema.host.latency_steps`."""
        return {
            "versions": {
                f"{model}@{version}": {
                    "codes": {str(status): count for status, count in tally.codes().items()},
                    "latency": {str(step): count for step, count in enumerate(tally.steps) if count},
                }
                for (model, version), tally in self._tallies.items()
            }
        }


def figures_route(figures: VersionFigures) -> Route:
    """`GET /versions`, for who runs this process."""

    async def answer(request: Any) -> Any:
        return json_response(figures.document())

    return Route("GET", "/versions", answer, OPEN)
