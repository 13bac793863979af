"""Version figures: how each version's parts of all calls ended and how long they took, counted since this process began.

A release compares a canary with the version it is to replace by the growth of these counts; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coordinator.merge import Part
from crema.host.latency_steps import step_of
from crema.host.service import OPEN, Route, json_response


class VersionFigures:
    """Counts by (model, version). Kept in plain numbers: this is on the way of every answer."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str, int], int] = {}
        self._steps: dict[tuple[str, str, int], int] = {}

    def count(self, parts: Sequence[Part]) -> None:
        """The parts of one call have ended."""
        codes = self._codes
        for part in parts:
            if part.error is not None:
                key = (part.model, part.version, part.error.status)
            else:
                key = (part.model, part.version, 200)
                timing = part.timing
                if timing is not None:
                    place = (part.model, part.version, step_of(timing["total_ms"]))
                    self._steps[place] = self._steps.get(place, 0) + 1
            codes[key] = codes.get(key, 0) + 1

    def document(self) -> dict[str, Any]:
        """`{"versions": {"tags@3.1": {"codes": {"200": 7}, "latency": {"67": 7}}}}`; `latency` holds the answers that were
        good, by `crema.host.latency_steps`."""
        versions: dict[str, dict[str, dict[str, int]]] = {}
        for member, counted in (("codes", self._codes), ("latency", self._steps)):
            for (model, version, what), count in counted.items():
                entry = versions.setdefault(f"{model}@{version}", {"codes": {}, "latency": {}})
                entry[member][str(what)] = count
        return {"versions": versions}


def figures_route(figures: VersionFigures) -> Route:
    """`GET /versions`, for who runs this process."""

    async def answer(request: Any) -> Any:
        return json_response(figures.document())

    return Route("GET", "/versions", answer, OPEN)
