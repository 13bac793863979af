"""Lender: gives a model the batches that lie in one piece in the shared memory as they lie there, uncopied. Light ring.

What lies there is the host's, who may want to run it again: alone when its batch raised, or on another worker. So only a model is
lent anything that has shown that it leaves its batches as they came; until then each is a copy, and held against what came. What is
lent can only be read: numpy says so to whoever writes, and the kernel ends who asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from crema.shared_pixels import SharedPixels

# Batches that a model has to leave as they came.
PROBATION: Final = 8


class Lender:
    """For one model whose items are `shape` and `dtype`, `item_bytes` each."""

    def __init__(self, shared: SharedPixels, shape: Sequence[int], dtype: str, item_bytes: int) -> None:
        self._shared = shared
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._item_bytes = item_bytes
        self._left_alone = 0
        """How many batches it has left as they came."""
        # any byte may come, and of truth values numpy knows only 0 and 1: those have to be made
        self._writes = self._dtype == np.bool_

    def lend(self, at: list[Any]) -> np.ndarray[Any, Any] | None:
        """The items that lie at these offsets, [len(at), *shape], to be read only; None where they have to be copied.

        Raises WireError for a place outside the shared memory.
        """
        if self._writes or self._left_alone < PROBATION:
            return None
        n, size = len(at), self._item_bytes
        begin = at[0]
        if type(begin) is not int:
            return None
        end = begin + n * size
        if n > 1 and at != list(range(begin, end, size)):
            return None
        return np.ndarray((n, *self._shape), self._dtype, self._shared.at(begin, n * size))

    def has_written(self) -> None:
        """The model wants to write into its batches after all: it is lent nothing more."""
        self._writes = True

    def watch(self, at: list[Any], ran: memoryview) -> None:
        """The items at these offsets have run, and while the model is on probation as copies: are those what they were?"""
        if self._writes or self._left_alone == PROBATION:
            return
        start, size = 0, self._item_bytes
        for offset in at:
            end = start + size
            if offset is not None and bytes(ran[start:end]) != bytes(self._shared.at(offset, size)):
                self._writes = True
                return
            start = end
        self._left_alone += 1
