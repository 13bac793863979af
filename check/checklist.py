"""The handover checklist: its steps in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from check.report import Report, Step


def check_package(folder: Path, *, packages: Path | None, on_step: Callable[[Step], None]) -> Report:
    """Runs every step on the package in `folder` and returns the report (not stored yet).

    `packages` is the folder of all packages (None: the folder's own siblings). `on_step` hears of each step as it ends.
    """
    raise NotImplementedError
