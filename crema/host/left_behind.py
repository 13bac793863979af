"""Left behind: what a model started in a session of its own and did not end. It would keep its memory, and a GPU's.

A worker's own session is killed with it. A process that left that session still carries the worker's environment, in which
its home is the worker's scratch folder: by that it is known.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

# What is killed may just have started another: looked for again, so often at most.
_LOOKS: Final = 3


def end_left_behind(home: Path) -> int:
    """Kill every process whose home is `home` or lies in it; returns how many. Takes some milliseconds: not for a loop."""
    marks = (f"HOME={home}".encode(), f"HOME={home}/".encode())
    ended = 0
    for _ in range(_LOOKS):
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        found = sum(_end(pid, *marks) for pid in pids)
        if not found:
            break
        ended += found
    return ended


def _end(pid: int, exactly: bytes, within: bytes) -> bool:
    """Kill the process if it is one of them. A descriptor names it: its pid may be somebody else's a moment later."""
    try:
        named = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if not any(each == exactly or each.startswith(within) for each in environment):
            return False
        signal.pidfd_send_signal(named, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(named)
    return True
