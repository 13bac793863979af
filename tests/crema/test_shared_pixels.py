"""Pixels in memory that the worker shares with its host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from crema.shared_pixels import SharedPixels
from tests.crema.worker_host import Host, start


@pytest.fixture
def shared() -> Iterator[SharedPixels]:
    """Four items of 128 bytes, at 0, 128, 256, 384, which begin with 10, 11, 12, 13."""
    descriptor = os.memfd_create("pixels")
    os.write(descriptor, b"".join(bytes([10 + item]) + bytes(127) for item in range(4)))
    yield SharedPixels(descriptor)


def test_items_are_taken_from_the_shared_memory_and_from_the_frame_in_their_order(
    hosts: list[Host], shared: SharedPixels
) -> None:
    host = start(hosts, shared=shared)
    host.run_at([384, None, 0, None, 128], 7, 8)
    assert host.answer()[1] == [{"ok": 13}, {"ok": 7}, {"ok": 10}, {"ok": 8}, {"ok": 11}]
    host.run_at([256])
    assert host.answer()[1] == [{"ok": 12}], "and a batch without a byte in the frame"
    assert host.run(5)[1] == [{"ok": 5}], "and one that is all in the frame"


def test_items_from_the_shared_memory_may_be_left_out_too(hosts: list[Host], shared: SharedPixels) -> None:
    host = start(hosts, shared=shared)
    host.run_at([0, 128, 256], until=[None, 0.0, None])
    header, outcomes = host.answer()
    assert header["skipped"] == [1]
    assert outcomes == [{"ok": 10}, {"ok": 12}]


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ([385], 0),
        ([-1], 0),
        ([2**63], 0),
        ([1.0], 0),
        (["0"], 0),
        ([True], 0),
        ([0, 0], 1),
        ([None], 0),
        ({}, 0),
        (0, 0),
    ],
)
def test_a_place_outside_the_shared_memory_ends_the_worker(
    hosts: list[Host], shared: SharedPixels, at: Any, sent: int
) -> None:
    host = start(hosts, shared=shared)
    host.run_at(at, *range(sent), n=len(at) if type(at) is list else 1)
    with pytest.raises(EOFError):
        host.answer()


def test_a_worker_without_shared_memory_takes_no_places(hosts: list[Host]) -> None:
    host = start(hosts)
    host.run_at([0])
    with pytest.raises(EOFError):
        host.answer()


def test_what_the_worker_shares_with_the_host_it_can_not_change_or_hand_on() -> None:
    descriptor = os.memfd_create("pixels")
    os.write(descriptor, bytes(16))
    shared = SharedPixels(descriptor)
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with pytest.raises(TypeError):
        shared.at(0, 16)[0] = 1
