"""Overlapping: a model on a GPU that is not there; it tells on which stream a batch ran and what it met."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import torch  # the fake one beside this file

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]

MEET, SLOW, RAISE, EXIT, HANG, DEVICE, MEMORY = 255, 254, 253, 252, 251, 250, 249
PATIENCE_S = 5.0


class Overlapping:
    """Of each item: its first byte, the stream, whether gradients are on, and whether its batch met another one.

    Two batches with a first byte of 255 wait for one another, 254 takes 50 ms, 253 raises, 252 ends the process, 251 hangs,
    250 breaks the device, and 249 finds no memory in a batch that met another.
    """

    def load(self, ctx: Any) -> None:
        torch.set_grad_enabled(False)
        self._two = threading.Barrier(2)

    def predict(self, batch: Batch, params: Params) -> list[dict[str, Any]]:
        met = self._run(set(batch[:, 0].tolist()))
        stream, grad = torch.cuda.current_stream(), int(torch.is_grad_enabled())
        return [{"value": int(item[0]), "stream": stream, "grad": grad, "met": met} for item in batch]

    def _run(self, told: set[int]) -> bool:
        met = MEET in told
        if met:
            self._two.wait(PATIENCE_S)
        if SLOW in told:
            time.sleep(0.05)
        if EXIT in told:
            os._exit(3)
        if HANG in told:
            time.sleep(3600)
        if RAISE in told:
            raise RuntimeError("told to raise")
        if DEVICE in told:
            raise RuntimeError("CUDA error: device-side assert triggered")
        if MEMORY in told and met:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return met
