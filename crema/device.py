"""CudaDevice: what a worker asks of a GPU through the torch that its model brought. Light ring.

Streams for batches that overlap, figures of memory, page locks. It runs no model, and without torch there is none: whoever
holds None instead runs one batch after another. torch is never imported here: for this alone it would cost more than it gains.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from crema.torch_model import PageLock, page_lock

# Asking the driver takes a while: not with every batch.
_MEMORY_EVERY_S: Final = 1.0


class CudaDevice:
    """One GPU, `"cuda:N"`. Made in the thread that loaded the model, once it is loaded."""

    def __init__(self, torch: Any, name: str) -> None:
        self.name = name
        self._torch = torch
        self._device = torch.device(name)
        # both belong to the thread: what a model's `load` switched off has to be off where its batches run
        self._is_grad = torch.is_grad_enabled()
        self._is_inference = torch.is_inference_mode_enabled()
        self._asked_at = -_MEMORY_EVERY_S
        # the weights were copied on the default stream, which other streams do not wait for
        torch.cuda.synchronize(self._device)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """For a thread: what it gives to the GPU from here on goes to a stream of its own, beside that of other threads."""
        torch = self._torch
        with contextlib.ExitStack() as entered:
            entered.enter_context(torch.cuda.device(self._device))
            entered.enter_context(torch.cuda.stream(torch.cuda.Stream(self._device)))
            entered.enter_context(torch.inference_mode(self._is_inference))
            entered.enter_context(torch.set_grad_enabled(self._is_grad))
            yield

    def page_lock(self, memory: np.ndarray[Any, Any]) -> PageLock | None:
        """Pin a batch array; None where the system does not: everything works without, only the copies are slower."""
        try:
            return page_lock(memory, self._torch.cuda.cudart())
        except Exception as error:
            logging.getLogger("model").warning("the batch array is not page-locked: %s", error)
            return None

    def memory(self) -> dict[str, int] | None:
        """In bytes: `reserved`, the most that torch took for this process, `used` by all processes of the GPU together, and
        `total`. None where it cannot be told, and when it was told within the last second."""
        now = time.monotonic()
        if now - self._asked_at < _MEMORY_EVERY_S:
            return None
        self._asked_at = now
        try:
            cuda = self._torch.cuda
            free, total = cuda.mem_get_info(self._device)
            reserved = cuda.max_memory_reserved(self._device)
        except Exception:  # a device that failed has said so through the batch already
            return None
        return {"reserved": int(reserved), "used": int(total) - int(free), "total": int(total)}


def cuda_device(name: str) -> CudaDevice | None:
    """The GPU of a model that has imported torch; None on a CPU, without torch, and where torch sees no GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not name.startswith("cuda"):
        return None
    try:
        return CudaDevice(torch, name)
    except Exception as error:
        logging.getLogger("model").warning("torch has no %s: %s", name, error)
        return None
