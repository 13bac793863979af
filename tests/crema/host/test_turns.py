"""Turns: a thread asks for long ones, and only that thread has them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crema.host import turns
from crema.host.turns import LONG_S, restore_turns, slice_s, take_long_turns
from crema.session import family

ROOT = Path(__file__).resolve().parents[3]


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


def test_all_threads_of_a_process_and_of_what_it_started_have_usual_turns_again() -> None:
    usual = slice_s()
    if usual is None:
        pytest.skip("needs Linux 6.12, where a thread has a slice of its own")
    child = "import threading; threading.Thread(target=input).start(); print(1, flush=True)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    program = f"from crema.host.turns import take_long_turns; take_long_turns(); {parent}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        threads = [
            int(path.name) for pid in family(process.pid) for path in Path(f"/proc/{pid}/task").iterdir()
        ]
        assert len(threads) == 3
        assert {slice_s(thread) for thread in threads} == {LONG_S}
        restore_turns(process.pid)
        assert {slice_s(thread) for thread in threads} == {usual}
        process.stdin.close()


def test_a_machine_whose_calls_are_not_known_keeps_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_CALLS", {})
    assert in_a_thread() == [None]
