"""Turns: a thread asks for long ones, and only that thread has them."""

from __future__ import annotations

import os
import threading

import pytest

from crema.host import turns
from crema.host.turns import LONG_S, slice_s, take_long_turns


def in_a_thread() -> list[float | None]:
    found: list[float | None] = []

    def do() -> None:
        take_long_turns()
        found.append(slice_s())

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    return found


def test_a_thread_takes_long_turns_and_others_do_not() -> None:
    before = slice_s()
    if before is None:
        pytest.skip("needs Linux 6.12, where a thread has a slice of its own")
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    assert before < LONG_S
    assert in_a_thread() == [LONG_S]
    assert slice_s() == before
    assert os.getpriority(os.PRIO_PROCESS, 0) == priority


def test_a_machine_whose_calls_are_not_known_keeps_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_CALLS", {})
    assert in_a_thread() == [None]
