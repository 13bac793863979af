"""Several processes that are one tier render one sum; a process that died keeps its counts and loses its gauges."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from crema.host.metrics import Metrics
metrics = Metrics()
metrics.partial_total.inc(int(sys.argv[1]))
metrics.requests_total.labels(tier="coordinator", model="", version="", code="200").inc(int(sys.argv[1]))
metrics.request_seconds.labels(tier="coordinator", model="", version="").observe(0.003)
metrics.pending.labels(tier="coordinator", model="", version="").set(int(sys.argv[1]))
metrics.ready.labels(tier="coordinator", model="", version="").set(int(sys.argv[1]) % 2)
print("set", flush=True)
sys.stdin.readline()
sys.stdout.write(metrics.render().decode())
"""


def process(folder: Path, number: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    started = subprocess.Popen(
        [sys.executable, "-c", CODE, str(number)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "set\n"
    return started


def value(text: str, name: str) -> float:
    found = re.search(rf"^crema_{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    assert found is not None, text
    return float(found[1])


def test_each_renders_the_sum_of_all_that_live_and_the_counts_of_all_that_ever_did(tmp_path: Path) -> None:
    first, second, killed = process(tmp_path, 3), process(tmp_path, 4), process(tmp_path, 5)
    killed.kill()
    killed.communicate()
    text, _ = first.communicate("\n")
    second.communicate("\n")
    assert value(text, "requests_total") == value(text, "partial_total") == 12
    assert value(text, "request_seconds_count") == 3
    assert value(text, "pending") == 7
    assert value(text, "ready") == 0  # one of those that live is not
    assert "pid=" not in text
    assert "# HELP crema_requests_total Requests answered" in text
