"""Arena: memory that a host and its workers share, out of which received pixels are given room: they are never sent on.

A block is the arena's again when the last view of it is gone, whoever held it. When there is no room, whoever asked does
without: pixels then travel in frames. It knows neither items nor batches.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from typing import Any, Final

import numpy as np

from crema.host.channel import Buffer

# Smaller items go with the frame: sending them costs less than a block of memory and its number.
LEAST_BYTES: Final = 16 * 1024
# However many places a minion has. Pages are taken when they are first written to.
MOST_BYTES: Final = 256 * 1024 * 1024
# Blocks begin at cache lines.
_ALIGNMENT: Final = 64
# Linux 5.1 and later, and not yet in `fcntl`: who maps it from now on maps it to read only.
_SEAL_FUTURE_WRITE: Final = 0x10


class _Block(np.ndarray[Any, Any]):
    """Memory of one payload. `home` are the free blocks of its size."""

    home: list[int]
    offset: int

    def __del__(self) -> None:
        self.home.append(self.offset)


class Arena:
    """Room for `items` items of `item_bytes` each, as far as `MOST_BYTES` go.

    Raises OSError where the system does not have such memory.
    """

    def __init__(self, items: int, item_bytes: int) -> None:
        self._slot_bytes = -(-item_bytes // _ALIGNMENT) * _ALIGNMENT
        self.size = max(1, min(items, MOST_BYTES // self._slot_bytes)) * self._slot_bytes
        self.descriptor = os.memfd_create("crema-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        """To be inherited by workers, who map it."""
        try:
            os.ftruncate(self.descriptor, self.size)
            self._memory = mmap.mmap(self.descriptor, self.size)
            # no process that has it can make it shorter under the others; and workers read only
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        except OSError:
            self.close()
            raise
        self._free: dict[int, list[int]] = {}
        """Where blocks begin that were given back, by how many slots they have: the warmest is last."""
        self._reached = 0
        """From here on nothing was taken yet."""

    @property
    def taken_bytes(self) -> int:
        """How much is taken."""
        return self._reached - self._slot_bytes * sum(slots * len(free) for slots, free in self._free.items())

    def take(self, size: int) -> memoryview | None:
        """Room for `size` bytes; None when there is none. It is given back by forgetting it and all that was cut from it."""
        slots = -(-size // self._slot_bytes)
        free = self._free.get(slots)
        if free is None:
            free = self._free[slots] = []
        if free:
            offset = free.pop()
        else:
            room = slots * self._slot_bytes
            if self._reached + room > self.size and not self.taken_bytes:
                # blocks of many sizes have cut it up, and none is taken: it is whole again
                for each in self._free.values():
                    each.clear()
                self._reached = 0
            offset = self._reached
            if offset + room > self.size:
                return None
            self._reached = offset + room
        block = np.ndarray.__new__(_Block, (size,), np.uint8, self._memory, offset)
        block.home, block.offset = free, offset
        return block.data

    def close(self) -> None:
        """Close the descriptor; what is mapped and taken stays."""
        os.close(self.descriptor)


def arena_for(items: int, item_bytes: int) -> Arena | None:
    """An arena, where items are large enough for one and the system has such memory."""
    if item_bytes < LEAST_BYTES:
        return None
    try:
        return Arena(items, item_bytes)
    except OSError:
        return None


def offset_of(payload: Buffer) -> int | None:
    """Where in its arena a payload begins that was received into a block; None for one that was not."""
    block: Any = payload.obj if type(payload) is memoryview else None
    return block.offset if type(block) is _Block else None
