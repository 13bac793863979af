"""What the host is told of an exception."""

from __future__ import annotations

import pytest

from crema.outcomes import BatchInvalid
from crema.raised import described


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


def test_one_line_the_class_and_the_traceback_are_told() -> None:
    try:
        raise ValueError("no\nsecond line")
    except ValueError as error:
        told = described(error)
    assert (told["code"], told["kind"], told["message"]) == ("model_failed", "ValueError", "ValueError: no")
    assert "raise ValueError" in told["traceback"]
    assert "trouble" not in told


@pytest.mark.parametrize("raises", [ValueError, SystemExit])
def test_an_exception_that_cannot_say_what_it_is_is_told_by_its_class(raises: type[BaseException]) -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise raises("no")

    told = described(Mute())
    assert (told["code"], told["kind"], told["message"]) == ("model_failed", "Mute", "Mute:")
    assert "trouble" not in told


def test_a_batch_of_the_wrong_kind_is_its_own_code() -> None:
    assert described(BatchInvalid("got 1")) == {"code": "model_output_invalid", "message": "got 1"}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: out of memory"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_lack_of_memory_is_recognised(error: BaseException) -> None:
    assert described(error)["trouble"] == "memory"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_a_device_that_is_broken_for_the_process_is_recognised(error: BaseException) -> None:
    assert described(error)["trouble"] == "cuda"


@pytest.mark.parametrize("error", [ValueError("CUDA error"), RuntimeError("no"), SystemExit(3)])
def test_anything_else_is_the_model_s_own_trouble(error: BaseException) -> None:
    assert "trouble" not in described(error)
