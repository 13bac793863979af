"""The tray: memory that the host shares with one decode process. Images go in, their pixels come back in their places.

Every process has a tray of its own, or one that a hostile image has taken over could see and change what others decode.
The kernel holds its size (a mapping that shrinks under a reader kills the reader), and whatever the host takes off it is
a copy, because the other side can write to it at any time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Final

from crema.wire import MAX_PAYLOAD_BYTES

TRAY_BYTES: Final = MAX_PAYLOAD_BYTES
# Behind them the decoder notes which of several images it has in hand.
_NOTE: Final = TRAY_BYTES
_SIZE: Final = TRAY_BYTES + mmap.PAGESIZE
# What a large image or many pixels took beyond this is given back to the system.
_KEPT_BYTES: Final = 8 * 1024 * 1024

# As much as is laid there at once: other images must not wait for the copy of a large one.
PIECE_BYTES: Final = 1024 * 1024

# neither shorter nor longer, and no seal taken off
_SEALS: Final = fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def make_tray_memory() -> int:
    """A descriptor of fresh memory for a tray that nobody can make shorter or longer. Raises OSError."""
    fd = os.memfd_create("crema-tray", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, _SIZE)
        fcntl.fcntl(fd, *_SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


class Tray:
    """One side's view of the memory behind `fd`, which is closed here. Pages are taken as they are first used."""

    def __init__(self, fd: int) -> None:
        try:
            self._memory = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._used = 0

    def put(self, data: bytes | memoryview, begin: int = 0) -> int:
        """The host's: lay the next piece of an image on it, and say where that ends."""
        self._used = size = len(data)
        if size <= PIECE_BYTES:
            self._memory[:size] = data
            return size
        end = min(begin + PIECE_BYTES, size)
        self._memory[begin:end] = memoryview(data)[begin:end]
        return end

    def put_at(self, begin: int, data: bytes | memoryview) -> None:
        """The host's: lay one of several small images on it."""
        end = begin + len(data)
        self._memory[begin:end] = data
        self._used = end

    @property
    def noted(self) -> int:
        """The host's: the image that the decoder says it has in hand."""
        return self._memory[_NOTE]

    def note(self, index: int) -> None:
        """The decoder's: which of several images it has in hand."""
        self._memory[_NOTE] = index

    def take(self, nbytes: int, begin: int = 0) -> bytes:
        """The host's: a copy of an image's pixels. After the last one's the tray may be used again."""
        end = begin + nbytes
        pixels: bytes = self._memory[begin:end]
        if max(self._used, nbytes) > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, TRAY_BYTES - _KEPT_BYTES)
        return pixels

    def view(self, nbytes: int, begin: int = 0) -> memoryview:
        """The decoder's: an image as it lies there, until `fill`."""
        end = begin + nbytes
        return memoryview(self._memory)[begin:end]

    def fill(self, parts: Iterable[bytes], begin: int = 0) -> None:
        """The decoder's: pixels of each spec, back to back, over the image that lay there."""
        for part in parts:
            end = begin + len(part)
            self._memory[begin:end] = part
            begin = end

    def close(self) -> None:
        """Give up this side's view."""
        self._memory.close()
