"""From which size on a worker is relieved."""

from __future__ import annotations

import mmap
import os

from minion.memory_limit import MemoryLimit, own_bytes

MB = 1024 * 1024


def test_before_anything_was_measured_nothing_is_too_much() -> None:
    assert not MemoryLimit(1).is_over(10**12)


def test_a_declared_limit_is_kept() -> None:
    limit = MemoryLimit(300)
    assert limit.warmed_up(100 * MB)
    assert not limit.is_over(300 * MB)
    assert limit.is_over(300 * MB + 1)


def test_without_one_a_worker_may_grow_by_half_and_512_mib() -> None:
    limit = MemoryLimit()
    limit.warmed_up(200 * MB)
    assert limit.bytes == 812 * MB


def test_a_declared_limit_that_leaves_no_room_is_not_kept_or_it_would_relieve_for_ever() -> None:
    limit = MemoryLimit(300)
    assert not limit.warmed_up(290 * MB)
    assert not limit.is_over(400 * MB)


def test_the_size_of_a_process_is_asked_of_the_kernel() -> None:
    assert own_bytes(os.getpid()) > 10 * MB
    assert own_bytes(2**30) == 0


def test_memory_that_a_process_shares_by_descriptor_does_not_count_as_its_own() -> None:
    assert grown_by(mmap.MAP_SHARED) < 32 * MB
    assert grown_by(mmap.MAP_PRIVATE) > 32 * MB


def grown_by(sharing: int) -> int:
    """How much more the kernel counts as our own once 64 MiB of this kind were written to. By page: an allocator that
    keeps what was freed has no part in it."""
    before = own_bytes(os.getpid())
    with mmap.mmap(-1, 64 * MB, flags=sharing | mmap.MAP_ANONYMOUS) as memory:
        for page in range(0, 64 * MB, mmap.PAGESIZE):
            memory[page] = 1
        return own_bytes(os.getpid()) - before
