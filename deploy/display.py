"""Display: what the supervisor tells the person in front of it. The words are here; how they look is the caller's."""

from __future__ import annotations

from typing import Protocol


class Display(Protocol):
    """Called on the loop; must neither block for long nor raise."""

    def working(self, text: str | None) -> None:
        """What is being waited for now, or None when nothing is."""

    def line(self, state: str, what: str, detail: str = "", problem: str = "") -> None:
        """One thing and its state (READY, FAILED, RESTART, NOTE …) in one aligned line, the problem last."""
