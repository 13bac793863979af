"""Arena: memory that a host and its workers share, out of which received pixels are given room: they are never sent on.

What comes one after the other is laid side by side as far as that goes, so that a batch of it can be run as it lies. A block is
the arena's again when the last view of it is gone, whoever held it. When there is no room, whoever asked does without: pixels
then travel in frames. It knows neither items nor batches.
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
# Room is taken round and round, and turns back to the start after so many times what is taken: memory that was used a moment
# ago is warm, and a batch lies apart only where it turns.
_TURNS_AT: Final = 2

# Linux 5.1 and later, and not yet in `fcntl`: who maps it from now on maps it to read only.
_SEAL_FUTURE_WRITE: Final = 0x10
_BYTE: Final = np.dtype(np.uint8)


class _Block(np.ndarray[Any, Any]):
    """Memory of one payload."""

    __slots__ = ("arena", "offset")  # a dictionary for each costs as much as the array

    arena: Arena
    offset: int

    def __del__(self) -> None:
        self.arena.give_back(self.offset, self.size)


class Arena:
    """Room for `items` items of `item_bytes` each, as far as `MOST_BYTES` go.

    Raises OSError where the system does not have such memory.
    """

    def __init__(self, items: int, item_bytes: int) -> None:
        self._slot_bytes = item_bytes
        slots = max(1, min(items, MOST_BYTES // item_bytes))
        self.size = slots * item_bytes
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
        self._is_taken = bytearray(slots)
        """Of each slot, one byte: 0 while it is free."""
        self._taken = 0
        self._next = 0
        """The slot behind what was taken last."""

    @property
    def taken_bytes(self) -> int:
        """How much is taken."""
        return self._taken * self._slot_bytes

    def take(self, size: int) -> memoryview | None:
        """Room for `size` bytes; None when there is none. It is given back by forgetting it and all that was cut from it."""
        slots = -(-size // self._slot_bytes)
        room = bytes(slots)
        begin = self._next if self._next <= _TURNS_AT * self._taken else 0
        slot = self._is_taken.find(room, begin)
        if slot < 0 and (slot := self._is_taken.find(room)) < 0:
            return None
        self._next = slot + slots
        self._is_taken[slot : self._next] = b"\1" * slots
        self._taken += slots
        block = np.ndarray.__new__(_Block, (size,), _BYTE, self._memory, slot * self._slot_bytes)
        block.arena, block.offset = self, slot * self._slot_bytes
        return block.data

    def give_back(self, offset: int, size: int) -> None:
        """What was taken is free; called by the block itself."""
        slot, slots = offset // self._slot_bytes, -(-size // self._slot_bytes)
        self._is_taken[slot : slot + slots] = bytes(slots)
        self._taken -= slots

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
