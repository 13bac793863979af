"""SharedPixels: the worker's view of the memory into which its host receives pixels. Light ring.

It is read only, and the host says what lies where. What a batch is, it does not know.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

from crema import wire


class SharedPixels:
    """Maps the memory behind an inherited descriptor, and closes that: what the model starts must not inherit it."""

    def __init__(self, descriptor: int) -> None:
        self._size = os.fstat(descriptor).st_size
        self._memory = memoryview(mmap.mmap(descriptor, self._size, prot=mmap.PROT_READ))
        os.close(descriptor)

    def at(self, offset: Any, size: int) -> memoryview:
        """`size` bytes at `offset`, as they lie there. Raises WireError for a place outside."""
        if type(offset) is not int or not 0 <= offset <= self._size - size:
            raise wire.WireError("pixels outside the shared memory")
        end = offset + size
        return self._memory[offset:end]
