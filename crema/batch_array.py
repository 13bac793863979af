"""BatchArray: the memory that a batch is received into and that `predict` is given. Light ring.

It knows shapes and bytes. Whose turn it is, and what becomes of the batch, it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crema.device import CudaDevice
from crema.torch_model import PageLock


class BatchArray:
    """[max_size, *shape], reused by every batch that is received into it."""

    def __init__(self, max_size: int, shape: Sequence[int], dtype: str) -> None:
        self.array = np.zeros([max_size, *shape], np.dtype(dtype).newbyteorder("<"))
        self.pixels: memoryview = self.array.reshape(-1).view(np.uint8).data
        self._pages: PageLock | None = None

    def pin(self, device: CudaDevice) -> None:
        """Page-lock it, where that is to be had."""
        self._pages = device.page_lock(self.array)

    def release(self) -> None:
        """Unlock it again."""
        if self._pages is not None:
            self._pages.release()

    def keep(self, indexes: list[int]) -> None:
        """Move these items, ascending, to its front: the others are not to run."""
        for place, index in enumerate(indexes):
            if place != index:
                self.array[place] = self.array[index]

    def first(self, n: int) -> np.ndarray[Any, Any]:
        """The first `n` items, as `predict` is given them."""
        if self.array.dtype == np.bool_:  # any byte may come; numpy knows only 0 and 1
            np.not_equal(self.array.view(np.uint8)[:n], 0, out=self.array[:n])
        return self.array[:n]
