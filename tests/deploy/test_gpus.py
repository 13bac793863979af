"""Gpus: which one a minion gets. nvidia-smi's lines are written here; no GPU is needed."""

from __future__ import annotations

import pytest

from deploy.gpus import DoesNotFit, Gpu, Gpus, Placement, parse_gpus

TWO = "0, GPU-aaaa, 16000, 15000\n1, GPU-bbbb, 16000, 9000\n"


def test_lines_of_nvidia_smi_are_read() -> None:
    assert parse_gpus(TWO, None) == [Gpu("GPU-aaaa", 16000, 15000), Gpu("GPU-bbbb", 16000, 9000)]


@pytest.mark.parametrize("visible", ["1", "GPU-bb", "GPU-bbbb,3"])
def test_only_gpus_that_were_left_to_us_are_given(visible: str) -> None:
    assert [gpu.uuid for gpu in parse_gpus(TWO, visible)] == ["GPU-bbbb"]


def test_an_empty_cuda_visible_devices_means_no_gpu() -> None:
    assert parse_gpus(TWO, "") == []


def test_lines_that_cannot_be_read_are_left_out() -> None:
    assert parse_gpus("No devices were found\n0, GPU-aaaa, [N/A], [N/A]\n", None) == []


def test_minions_are_spread_over_the_gpus() -> None:
    gpus = Gpus(parse_gpus(TWO, None))
    assert [gpus.place("auto", 3000).visible for _ in range(3)] == ["GPU-aaaa", "GPU-bbbb", "GPU-aaaa"]


def test_memory_that_was_promised_is_not_given_twice() -> None:
    gpus = Gpus([Gpu("GPU-a", 8000, 8000)])
    assert gpus.place("auto", 5000) == Placement("cuda:0", "GPU-a")
    assert gpus.place("auto", 5000) == Placement("cpu")


def test_a_package_for_the_cpu_gets_no_gpu() -> None:
    assert Gpus(parse_gpus(TWO, None)).place("cpu", None) == Placement("cpu", "")


def test_a_package_that_needs_a_gpu_says_that_there_is_none() -> None:
    with pytest.raises(DoesNotFit, match=r"device: auto"):
        Gpus().place("gpu", None)


def test_a_package_that_needs_more_memory_says_how_much_is_left() -> None:
    with pytest.raises(DoesNotFit, match=r"needs 20000 MB .* 15000 MB"):
        Gpus(parse_gpus(TWO, None)).place("gpu", 20000)
