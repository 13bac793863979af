"""LogFile: where one process writes its log. Bounded in size; reading it serves only to say why a process ended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 16 * 1024 * 1024
_TAIL_BYTES: Final = 8192
_SHOWN_CHARACTERS: Final = 300


class LogFile:
    """One log and the one before it (`NAME.log.1`)."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self._limit = limit_bytes
        self._started_at = 0

    def open(self) -> int:
        """A descriptor that appends, for a process to inherit; the caller closes it. Puts a log over the limit aside."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._size() > self._limit:
            self.path.replace(self._before)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._started_at = os.fstat(descriptor).st_size
        return descriptor

    def trim(self) -> None:
        """Put a log over the limit aside while its process writes on: copied and emptied, because the descriptor
        stays. What is written in between is lost. A full disk is no reason to fail."""
        if self._size() <= self._limit:
            return
        try:
            shutil.copyfile(self.path, self._before)
            os.truncate(self.path, 0)
        except OSError:
            return
        self._started_at = 0

    def last_words(self) -> str | None:
        """What the process wrote last since `open`: an event and its error, or the last line of a traceback."""
        try:
            with self.path.open("rb") as log:
                log.seek(max(self._started_at, self._size() - _TAIL_BYTES))
                lines = log.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            return None
        for line in reversed(lines):
            if line.strip():
                return _in_words(line.strip())[:_SHOWN_CHARACTERS]
        return None

    @property
    def _before(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


def _in_words(line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return line
    parts = [str(event[key]) for key in ("event", "error", "exception") if event.get(key)]
    if len(parts) > 1:
        parts[-1] = parts[-1].strip().splitlines()[-1]
    return ": ".join(parts) or line
