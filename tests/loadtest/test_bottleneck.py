"""Whether a run measured the cluster or its own sender."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.bottleneck import bottlenecks
from loadtest.figures import Latencies

PUNCTUAL = Latencies([0.001] * 1000)


def found(**changes: Any) -> list[str]:
    given: dict[str, Any] = {
        "lag": PUNCTUAL, "cpu_shares": [[0.4] * 10], "held": 0, "connections": 1000, "codes": {"overloaded": 9},
        "processes": 1, "cores": 4, **changes,
    }  # fmt: skip
    return bottlenecks(**given)


def test_a_sender_that_kept_up_is_not_spoken_of() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lag": Latencies([0.001] * 900 + [0.050] * 100)}, "p99 50 ms after they were due"),
        (
            {"cpu_shares": [[0.4] * 10, [0.97] * 2 + [0.5] * 8]},
            "more than 90% of its core for 20% of the run",
        ),
        ({"held": 30}, "30 of 1000 calls were due when all 1000 connections were taken"),
        ({"codes": {"no_descriptors": 4}}, "4 calls found no free file descriptor. Next: raise `ulimit -n`"),
        ({"codes": {"no_ports": 4}}, "4 calls found no free port"),
    ],
)
def test_each_sign_is_told_with_the_next_step(changes: dict[str, Any], said: str) -> None:
    (told,) = found(**changes)
    assert said in told and "Next: " in told


def test_more_processes_are_advised_only_while_there_are_cores() -> None:
    late = {"lag": Latencies([0.1] * 100)}
    assert "--processes 4" in found(**late, processes=2)[0]
    assert "send from a machine of its own" in found(**late, processes=4)[0]


def test_one_busy_second_is_chance() -> None:
    assert found(cpu_shares=[[0.4] * 19 + [0.99]]) == []
