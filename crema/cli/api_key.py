"""The API key that the verbs show: from a file or from the environment, never from the command line, where others see it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

KEY_VARIABLE: Final = "CREMA_API_KEY"
_MAX_CHARACTERS: Final = 1024


def api_key(file: Path | None = None) -> str | None:
    """The key in `file`, else the one in CREMA_API_KEY, else None. Raises click's errors."""
    if file is None:
        where, written = f"the variable {KEY_VARIABLE}", os.environ.get(KEY_VARIABLE, "")
    else:
        where = str(file)
        try:
            with file.open(encoding="utf-8") as stream:
                written = stream.read(_MAX_CHARACTERS + 1)
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{file} cannot be read: {error}") from None
        if not written.strip():
            raise click.UsageError(f"{file} is empty; it should hold the key that `crema keys new` showed")
    key = written.strip()
    if not key.isascii() or not key.isprintable() or " " in key or len(key) > _MAX_CHARACTERS:
        raise click.UsageError(f"{where} holds no API key: one line that begins with crema_")
    return key or None
