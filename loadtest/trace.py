"""Trace: the moments of calls as they were once recorded, read from a text file. It sends nothing."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_MOST_MISTAKES: Final = 5


class TraceError(Exception):
    """A trace cannot be used; the text says which lines and what they should be."""


def read_trace(path: Path) -> list[float]:
    """Seconds, ascending, as they stand in the file or from its dates.

    One call a line: the first column, before any comma, is a number of seconds (from whenever) or a date and time
    (2026-05-04T10:00:00.250Z). Empty lines, those that begin with #, and a first line that names the columns are passed
    over. Logs write down what ends, not what begins, so lines may be out of order. Raises TraceError.
    """
    moments: list[float] = []
    mistakes: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), 1):
                written = row[0].strip() if row else ""
                if not written or written.startswith("#"):
                    continue
                moment = _moment(written)
                if moment is not None:
                    moments.append(moment)
                elif moments or mistakes or number > 1:
                    mistakes.append(
                        f"{path}:{number}: neither seconds nor a date and time (got {written[:40]!r})"
                    )
    except OSError as error:
        raise TraceError(
            f"{path} cannot be read: {error.strerror}\n  name a file with one time a line"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} is not a text file: {error}\n  name a file with one time a line") from None
    if mistakes:
        more = len(mistakes) - _MOST_MISTAKES
        shown = mistakes[:_MOST_MISTAKES] + ([f"and {more} more lines"] if more > 0 else [])
        raise TraceError("\n".join([*shown, "  try: 12.345, or 2026-05-04T10:00:00.250Z, first in the line"]))
    if not moments:
        raise TraceError(f"{path} holds no times\n  try: one call a line, 12.345 or 2026-05-04T10:00:00.250Z")
    return sorted(moments)


def _moment(written: str) -> float | None:
    try:
        seconds = float(written)
    except ValueError:
        pass
    else:
        return seconds if math.isfinite(seconds) else None
    try:
        date = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
