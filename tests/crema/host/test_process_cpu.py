"""A tier's CPU time: its own, its children's, and that of children that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

from crema.host.metrics import Metrics
from crema.host.process_cpu import tree_cpu_s

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_a_child_s_time_counts_while_it_lives_and_after_it_has_ended() -> None:
    before = tree_cpu_s(os.getpid())
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + "print(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        alive = tree_cpu_s(os.getpid())
    finally:
        child.communicate(b"\n", timeout=30)
    assert alive >= before + 0.25
    assert tree_cpu_s(os.getpid()) >= before + 0.25


def test_a_process_that_is_gone_used_nothing() -> None:
    assert tree_cpu_s(2**22 + 1) == 0.0


def test_metrics_tell_it_once_under_the_name_that_scrapers_know() -> None:
    lines = Metrics().render().decode().splitlines()
    told = [line for line in lines if line.startswith("process_cpu_seconds_total")]
    assert len(told) == 1 and float(told[0].split()[1]) > 0
