"""The GPU as a worker asks for it, with a torch that is only imagined."""

from __future__ import annotations

import sys
import threading
import types

import numpy as np
import pytest

from crema.device import CudaDevice, cuda_device
from tests.crema.fake_torch import fake_torch


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """As if the model had imported it."""
    torch = fake_torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def test_a_cpu_has_none(torch: types.ModuleType) -> None:
    assert cuda_device("cpu") is None


def test_without_torch_there_is_none() -> None:
    assert "torch" not in sys.modules
    assert cuda_device("cuda:0") is None


def test_a_torch_that_sees_no_gpu_gives_none_and_says_so(
    torch: types.ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(on: object) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    torch.cuda.synchronize = fails
    assert cuda_device("cuda:0") is None
    assert "not compiled with CUDA" in caplog.text


def test_the_weights_have_arrived_before_another_stream_may_use_them(torch: types.ModuleType) -> None:
    cuda_device("cuda:0")
    assert torch.LOG == ["synchronize"]


def test_every_thread_has_a_stream_of_its_own(torch: types.ModuleType) -> None:
    device = cuda_device("cuda:0")
    assert device is not None
    seen: list[int] = []

    def work() -> None:
        with device.apart():
            seen.append(torch.cuda.current_stream())

    for thread in [threading.Thread(target=work) for _ in range(2)]:
        thread.start()
        thread.join(10)
    assert len({0, *seen}) == 3
    assert torch.cuda.current_stream() == 0


@pytest.mark.parametrize("is_grad", [True, False])
def test_gradients_are_off_in_a_thread_where_they_were_when_the_model_had_loaded(
    torch: types.ModuleType, is_grad: bool
) -> None:
    with torch.set_grad_enabled(is_grad):
        device = CudaDevice(torch, "cuda:0")
    seen: list[bool] = []

    def work() -> None:
        with device.apart():
            seen.append(torch.is_grad_enabled())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [is_grad]


def test_memory_is_told_at_most_once_a_second(torch: types.ModuleType) -> None:
    device = CudaDevice(torch, "cuda:0")
    gib = torch.GIB
    assert device.memory() == {"reserved": gib, "used": 3 * gib, "total": 8 * gib}
    assert device.memory() is None


def test_a_device_that_does_not_answer_has_no_figures(torch: types.ModuleType) -> None:
    def fails(on: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    torch.cuda.mem_get_info = fails
    assert CudaDevice(torch, "cuda:0").memory() is None


def test_memory_that_is_not_pinned_is_a_warning(
    torch: types.ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    torch.PIN_STATUS = 2  # type: ignore[attr-defined]
    assert CudaDevice(torch, "cuda:0").page_lock(np.zeros(8)) is None
    assert "not page-locked" in caplog.text
