"""Printing: writes to standard output in every way there is; what looks like a frame is among it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Printing:
    """A few lines per batch; a first byte of 255 floods with ten megabytes."""

    def load(self, ctx: Any) -> None:
        print("loading, says print")
        ctx.log.info("loading, says the log")
        os.write(1, b"\x10\x00\x00\x00\x00\x00\x00\x00loading, says the descriptor\n")
        subprocess.run([sys.executable, "-c", "print('loading, says a child')"], check=True)

    def predict(self, batch: Batch, params: Params) -> list[int]:
        first: list[int] = batch[:, 0].tolist()
        print("predicting", len(first), "without an end of line", end="")
        sys.stdout.buffer.write(b"\xff\xfe not text\n")
        if 255 in first:
            for _ in range(100_000):
                os.write(1, b"x" * 99 + b"\n")
        return first
