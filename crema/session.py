"""Session: how urgent the process that leads one is, beside all others on this machine.

Where Linux groups processes by session (`autogroup`), it shares the cores among sessions first and looks at niceness only
within each: the niceness of a process that leads a session of its own, as nearly all of ours do, changes nothing. So the
session's is set. Nothing here fails: where there is no such thing, all stays as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def niceness(pid: int | str = "self") -> int | None:
    """Of the session of a process, from -20 to 19; None where nobody knows."""
    try:
        # "/autogroup-123 nice 5"
        return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return None


def set_niceness(value: int, pid: int | str = "self") -> None:
    """Let a session give way to others (5: it gets a third of what each of them does; 10: a tenth). 0 takes that back,
    which needs no rights."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(value))


def take_over(parent_pid: int) -> None:
    """Be as urgent as the session of the parent that has just started this process in a session of its own."""
    value = niceness(parent_pid)
    if value:
        set_niceness(value)


def restore(pid: int) -> None:
    """Take back what was set for a process and for all that it started."""
    for each in family(pid):
        set_niceness(0, each)


def family(pid: int) -> Iterator[int]:
    """A process, and all that it started and that those did."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                yield from family(int(child))
