"""What every process of ours does to itself at start: die with its parent, keep the allocator's memory, allow itself
descriptors.

Linux with glibc is the supported platform; where a call is missing these functions do nothing.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
from contextlib import suppress
from typing import Final

from crema.session import take_over

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

# Memory of photo size stays within these when it is freed; a minion's worker is told them by its environment.
MMAP_THRESHOLD_BYTES: Final = 32 * 1024 * 1024
TRIM_THRESHOLD_BYTES: Final = 256 * 1024 * 1024
TOP_PAD_BYTES: Final = 16 * 1024 * 1024


def raise_malloc_thresholds() -> None:
    """Keep freed memory of photo size instead of giving it back and faulting it in again.

    A 150 KB body costs 35 page faults per request with glibc's defaults and under one with these. The price:
    resident memory stays at its peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
        mallopt(_M_TOP_PAD, TOP_PAD_BYTES)


def forbid_core_dumps() -> None:
    """A dump of this process's memory would hold photos and keys; what it starts inherits this."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def raise_descriptor_limit() -> None:
    """Allow as many open descriptors as this process may allow itself: connections are capped at half of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_collector() -> None:
    """For a tier that has started: what stands now stands for good, and a request leaves no cycles, so the garbage collector
    need not look at either again and again."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def give_root_away(user_id: int) -> bool:
    """Become a user who owns nothing, when this process is root's, and never more than that again.

    False when it is not root's, or may not change its user. What is loaded later must be open to others; who dies with
    its parent has to say so once more, because the kernel forgets it at a change of user.
    """
    if os.geteuid() != 0:
        return False
    try:
        os.setgroups([])
        os.setgid(user_id)
        os.setuid(user_id)
    except OSError:
        # a container without the right to, or with no such user: it contains its root by other means
        return False
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return True


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel for `signal_number` when the parent dies, and exit at once if it is already gone. Until told
    otherwise this process is as urgent as its parent.

    `parent_pid` is the parent's own idea of its pid, handed over by argument: comparing closes the race in
    which the parent dies between the fork and this call. Call it from the main thread.
    """
    take_over(parent_pid)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)
