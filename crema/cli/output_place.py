"""Where a verb is to write: looked at before the work, so that it is not lost for a misspelt folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


def check_place(file: Path | None) -> None:
    """Raises UsageError where the folder of `file` is not there."""
    if file is not None and not file.parent.is_dir():
        raise click.UsageError(
            f"there is no folder {file.parent} to write {file.name} in\n  make it: mkdir -p {shlex.quote(str(file.parent))}"
        )
