"""The decode process's own parts: heavy work runs behind what others want to do."""

from __future__ import annotations

import os
import resource
import threading
import time

import pytest

from crema.host.turns import LONG_S, slice_s
from preprocessor.decoder import CpuAllowance, behind_others
from preprocessor.link import HEAVY_NICENESS


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_heavy_work_gets_less_of_a_core_and_what_follows_gets_all_again() -> None:
    before = niceness()
    assert behind_others(niceness) == min(19, before + HEAVY_NICENESS)
    assert niceness() == before


def test_others_may_cut_in_on_heavy_work_at_any_moment() -> None:
    before = slice_s()
    assert behind_others(slice_s) == (before and LONG_S)
    assert slice_s() == before


def test_what_heavy_work_raises_reaches_the_caller() -> None:
    def broken() -> None:
        raise ValueError("not an image")

    with pytest.raises(ValueError, match="not an image"):
        behind_others(broken)


def test_the_kernel_s_limit_on_cpu_time_stays_ahead_of_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(limit[0]))
    used = 10.25
    monkeypatch.setattr(time, "process_time", lambda: used)
    allowance = CpuAllowance(4.5)
    for _ in range(100):
        allowance.renew()
        assert used + 4.5 <= limits[-1] <= used + 4.5 + 2
        used += 0.25
    assert len(limits) < 34  # not a system call per image
