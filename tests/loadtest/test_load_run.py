"""How many senders a run takes, and what they may open. The processes themselves: tests/cluster/test_load_run.py."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from loadtest.load_run import CALLS_PER_PROCESS, allowed_connections, mean_bytes, processes_for
from loadtest.phase import Phase
from loadtest.photo_stock import PhotoFiles


@pytest.fixture
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.usefixtures("_sixteen_cores")
@pytest.mark.parametrize(
    ("phases", "photo_bytes", "processes"),
    [
        ([Phase("p", 1.0, 50.0)], 80_000, 1),
        ([Phase("p", 1.0, CALLS_PER_PROCESS)], 2000, 1),
        ([Phase("p", 1.0, 50.0), Phase("q", 1.0, 2.5 * CALLS_PER_PROCESS)], 2000, 3),
        ([Phase("p", 1.0, CALLS_PER_PROCESS, "bursts", factor=3.0)], 2000, 3),
        ([Phase("p", 1.0, 10.0, "ramp", to_rate=2 * CALLS_PER_PROCESS)], 2000, 2),
        # 300 photos of 2 MB a second are 600 MB
        ([Phase("p", 1.0, 300.0)], 2_000_000, 4),
        ([Phase("p", 1.0, 1e6)], 2000, 16),
    ],
)
def test_senders_are_as_many_as_the_highest_rate_takes(
    phases: list[Phase], photo_bytes: float, processes: int
) -> None:
    assert processes_for(phases, photo_bytes) == processes


def test_the_mean_photo_is_that_of_a_call(tmp_path: Path) -> None:
    for name, size in (("a", 100), ("b", 300), ("c", 1000)):
        (tmp_path / name).write_bytes(bytes(size))
    small = PhotoFiles(3.0, (str(tmp_path / "a"), str(tmp_path / "b")))
    assert mean_bytes([small, PhotoFiles(1.0, (str(tmp_path / "c"),))]) == 400


def test_no_more_connections_are_promised_than_this_machine_opens() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert 1 <= allowed_connections(10) <= 10
        if hard != resource.RLIM_INFINITY:
            assert allowed_connections(hard + 1000) == hard - 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
