"""Tables as the verbs print them: one aligned line per thing, the state first, the problem last. Plain text only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import click

COLOURS = {
    "OK": "green", "READY": "green", "BUILT": "green", "FOUND": "green", "ACTIVE": "green", "PASSED": "green",
    "FAILED": "red", "ERROR": "red", "REVOKED": "red", "EXPIRED": "red",
    "PARTIAL": "yellow", "DEGRADED": "yellow", "STARTING": "yellow", "RESTART": "yellow", "DRAINING": "yellow",
    "BUSY": "yellow", "NOTE": "yellow", "SKIPPED": "yellow", "WARNING": "yellow",
}  # fmt: skip
STATE_WIDTH = 9


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of (state, cells…, problem) as lines. Cells are padded to their column; the state gets its colour."""
    listed = list(rows)
    count = max((len(row) for row in listed), default=0)
    widths = [
        max((len(row[index]) for row in listed if index < len(row) - 1), default=0) for index in range(count)
    ]
    widths[:1] = [max([STATE_WIDTH, *widths[:1]])]
    return [_line(row, widths) for row in listed]


def _line(row: Sequence[str], widths: list[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
    # a column that is empty in every row takes no room
    shown = [cell for cell, width in zip(cells, widths, strict=False) if width] + [row[-1]]
    text = " ".join([shown[0], "  ".join(shown[1:])]).rstrip()
    return coloured(row[0], text)


def coloured(state: str, line: str) -> str:
    """`line`, which begins with `state`, with the state in its colour (click removes it where it cannot be shown)."""
    colour = None if os.environ.get("NO_COLOR") else COLOURS.get(state)
    return click.style(state, fg=colour) + line[len(state) :] if colour and line.startswith(state) else line


def as_json(document: Any) -> str:
    """One document on one line, for machines."""
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))
