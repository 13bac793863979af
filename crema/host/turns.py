"""Turns: how long a thread computes before others have theirs, and so how soon they may cut in.

Since 6.12 Linux lets a thread ask for a slice of its own: what wakes up with a shorter one goes first, at once and not at the end
of a turn (`sched_setattr(2)`; Peter Zijlstra, "sched/eevdf: Allow shorter slices to wakeup-preempt"). Shares of the cores stay what
they are. Nothing here fails: where there is no such thing, all stays as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path
from typing import Final

from crema.session import family

# The longest that the kernel takes; its own choice is about 3 ms.
LONG_S: Final = 0.1

# sched_setattr, sched_getattr
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
# u32 size, u32 policy, u64 flags, s32 nice, u32 priority, u64 runtime, u64 deadline, u64 period
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")


def slice_s(thread: int = 0) -> float | None:
    """The slice of a thread, in seconds; None where nobody knows."""
    found = _attributes(thread)
    return found[5] / 1e9 if found is not None and found[5] else None


def take_long_turns(thread: int = 0) -> None:
    """From now on whatever else wants to run on this thread's core need not wait for the end of its turn. Threads and processes
    that it starts are the same. `thread`: an id; 0 is the caller's own."""
    _ask_for(thread, round(LONG_S * 1e9))


def take_usual_turns(thread: int = 0) -> None:
    """Take that back."""
    _ask_for(thread, 0)


def restore_turns(pid: int) -> None:
    """Take it back for all threads of a process and of all that it started."""
    for each in family(pid):
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{each}/task").iterdir():
                take_usual_turns(int(thread.name))


def _ask_for(thread: int, slice_ns: int) -> None:
    found = _attributes(thread)
    if found is None:
        return
    found[5] = slice_ns
    wanted = ctypes.create_string_buffer(_ATTRIBUTES.pack(*found))
    _libc().syscall(_CALLS[os.uname().machine][0], thread, wanted, 0)


def _attributes(thread: int) -> list[int] | None:
    calls = _CALLS.get(os.uname().machine)
    if calls is None:
        return None
    memory = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _libc().syscall(calls[1], thread, memory, _ATTRIBUTES.size, 0):
        return None
    return list(_ATTRIBUTES.unpack(memory.raw[: _ATTRIBUTES.size]))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
