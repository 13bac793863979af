"""Orphans: processes whose parent inside the cluster was killed. The supervisor adopts them and collects their ends, so
that no zombie stays, also where the machine's first process collects none (many containers).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_INTERVAL_S: Final = 1.0


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind. Does nothing where the kernel cannot."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def collect_orphans(interval_s: float = _INTERVAL_S) -> None:
    """Collect the ends of adopted processes until cancelled.

    Who starts a process collects its end at once: only what is still there at the second look belongs to nobody.
    """
    seen: int | None = None
    while True:
        await asyncio.sleep(interval_s)
        pid = _ended()
        while pid is not None and pid == seen:
            _collect(pid)
            pid = _ended()
        seen = pid


def _ended() -> int | None:
    """A child that has ended and is not collected yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _collect(pid: int) -> None:
    os.waitpid(pid, os.WNOHANG)
