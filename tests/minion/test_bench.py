"""Which sizes are measured, and with what. Measuring itself is tested with real processes."""

from __future__ import annotations

import os

import pytest

from crema.host.manifest import load_manifest
from minion.bench import items_of, ladder, peak_bytes
from tests.cluster.running_minion import TOYS


@pytest.mark.parametrize(
    ("max_size", "sizes"),
    [
        (1, [1]),
        (5, [1, 2, 3, 4, 5]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (20, [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20]),
        (32, [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32]),
    ],
)
def test_every_small_size_and_two_in_each_doubling_are_measured(max_size: int, sizes: list[int]) -> None:
    assert ladder(max_size) == sizes


def test_the_largest_allowed_batch_needs_few_sizes_and_is_one_of_them() -> None:
    assert len(ladder(1024)) <= 24
    assert ladder(1024)[-1] == 1024


def test_the_peak_of_a_process_is_its_own_and_of_none_is_zero() -> None:
    assert peak_bytes(os.getpid()) > 1_000_000
    assert peak_bytes(2**22 + 1) == 0


def test_a_tensor_model_is_measured_on_its_own_examples() -> None:
    manifest = load_manifest(TOYS / "echo" / "1.0")
    assert [len(item) for item in items_of(manifest, None)] == [manifest.input.item_bytes]
