"""As much of torch as a worker asks for on a GPU, without any: streams and modes of threads that are only written down.

`import torch` in the toy beside it finds this file; tests load it by its path.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import types
from collections.abc import Iterator
from typing import Any

LOG: list[str] = []
"""What was asked of the device, in order."""
LOCKED: dict[int, int] = {}
"""Page-locked memory: its address and its bytes."""
PIN_STATUS = 0
"""What pinning answers: 0 is success."""

GIB = 2**30
_of_thread = threading.local()
_numbers = itertools.count(1)


class OutOfMemoryError(RuntimeError):
    """As torch raises it."""


def device(name: str) -> str:
    return name


def is_grad_enabled() -> bool:
    return getattr(_of_thread, "grad", True)


def is_inference_mode_enabled() -> bool:
    return getattr(_of_thread, "inference", False)


class set_grad_enabled(contextlib.AbstractContextManager[None]):  # noqa: N801 - torch's name
    """Takes effect at once, and as a context until its end."""

    def __init__(self, mode: bool) -> None:
        self._before = is_grad_enabled()
        _of_thread.grad = mode

    def __exit__(self, *_: object) -> None:
        _of_thread.grad = self._before


@contextlib.contextmanager
def inference_mode(mode: bool = True) -> Iterator[None]:
    before = is_inference_mode_enabled()
    _of_thread.inference = mode
    yield
    _of_thread.inference = before


@contextlib.contextmanager
def _stream(number: int) -> Iterator[None]:
    before = _current_stream()
    _of_thread.stream = number
    yield
    _of_thread.stream = before


def _current_stream(on: Any = None) -> int:
    return getattr(_of_thread, "stream", 0)


def _register(address: int, size: int, flags: int) -> int:
    if PIN_STATUS == 0:
        LOCKED[address] = size
    return PIN_STATUS


cuda = types.SimpleNamespace(
    device=lambda on: contextlib.nullcontext(),
    Stream=lambda on: next(_numbers),
    stream=_stream,
    current_stream=_current_stream,
    synchronize=lambda on: LOG.append("synchronize"),
    is_available=lambda: True,
    empty_cache=lambda: LOG.append("empty_cache"),
    mem_get_info=lambda on: (5 * GIB, 8 * GIB),
    max_memory_reserved=lambda on: GIB,
    cudart=lambda: types.SimpleNamespace(
        cudaHostRegister=_register,
        cudaHostUnregister=lambda address: LOCKED.pop(address) and 0,
    ),
)
