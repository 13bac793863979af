"""The tray: memory that the host shares with one decode process. An image goes in, its pixels come back in its place.

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
# What a large image or many pixels took beyond this is given back to the system.
_KEPT_BYTES: Final = 8 * 1024 * 1024

# As much as is laid there at once: other images must not wait for the copy of a large one.
PIECE_BYTES: Final = 1024 * 1024

# neither shorter nor longer, and no seal taken off
_SEALS: Final = fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def make_tray_memory() -> int:
    """A descriptor of fresh memory of `TRAY_BYTES` that nobody can make shorter or longer. Raises OSError."""
    fd = os.memfd_create("crema-tray", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, TRAY_BYTES)
        fcntl.fcntl(fd, *_SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


class Tray:
    """One side's view of the memory behind `fd`, which is closed here. Pages are taken as they are first used."""

    def __init__(self, fd: int) -> None:
        try:
            self._memory = mmap.mmap(fd, TRAY_BYTES)
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

    def take(self, nbytes: int) -> bytes:
        """The host's: a copy of the first `nbytes`, the pixels, after which the tray may be used again."""
        pixels: bytes = self._memory[:nbytes]
        if max(self._used, nbytes) > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, TRAY_BYTES - _KEPT_BYTES)
        return pixels

    def view(self, nbytes: int) -> memoryview:
        """The decoder's: the image as it lies there, until `fill`."""
        return memoryview(self._memory)[:nbytes]

    def fill(self, parts: Iterable[bytes]) -> None:
        """The decoder's: pixels of each spec, back to back, over what lay there."""
        position = 0
        for part in parts:
            self._memory[position : position + len(part)] = part
            position += len(part)

    def close(self) -> None:
        """Give up this side's view."""
        self._memory.close()
