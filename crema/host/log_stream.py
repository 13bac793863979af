"""LogStream: where log lines go. A line that cannot be written is counted and fails nobody: the disk may be full."""

from __future__ import annotations

import json
from typing import Any, TextIO


class LogStream:
    """Takes the place of `stream`. Once it can be written to again, a line there says how many are missing."""

    def __init__(self, stream: TextIO) -> None:
        self.lost = 0
        """Lines that were not written and that no line tells of yet."""
        self._stream = stream
        self._has_failed = False

    def write(self, text: str) -> int:
        """As a text stream's, but that it never raises OSError."""
        if self.lost:
            self._tell()
        try:
            self._stream.write(text)
        except OSError:
            self._has_failed = True
        return len(text)

    def flush(self) -> None:
        """Called after every line."""
        try:
            self._stream.flush()
        except OSError:
            self._has_failed = True
        if self._has_failed:
            self.lost += 1
        self._has_failed = False

    def _tell(self) -> None:
        told = {"event": "log_lines_lost", "lines": self.lost, "level": "warning"}
        try:
            self._stream.write(json.dumps(told) + "\n")
            self._stream.flush()
        except OSError:
            return
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        """What else a text stream has."""
        return getattr(self._stream, name)
