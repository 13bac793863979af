"""OddFolders: package folders whose names say no model and version. Nothing can serve them, and whoever dropped one in waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.display import Display
from deploy.refusals import Refusal


class OddFolders:
    """Those that lie there now, as refused packages; each is said once on the display."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._there: list[Refusal] = []

    def __iter__(self) -> Iterator[Refusal]:
        return iter(self._there)

    def found(self, odd: Mapping[Path, str]) -> None:
        """All that lie there now, each with the reason."""
        known = {each.label for each in self._there}
        self._there = [
            Refusal(path.parent.name, path.name, f"its folder: {why}", "", "") for path, why in odd.items()
        ]
        for each in self._there:
            if each.label not in known:
                self._display.line("FAILED", f"{each.model}/{each.version}", problem=each.problem)
