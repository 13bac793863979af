"""`crema status` and `crema top` beside a real cluster under load, in a real terminal, and with a tier that hangs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.steady_load import SteadyLoad
from tests.cluster.toy_packages import write_package, write_photo

PER_S = 20.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """One model, two replicas."""
    folder = tmp_path_factory.mktemp("top")
    write_package(folder / "model_packages", "pair", predict="time.sleep(0.02)")
    cluster_yaml = 'default_models: [pair]\nmodels:\n  pair: {versions: {"1.0": {replicas: 2}}}\n'
    with running_cluster(folder, cluster_yaml=cluster_yaml) as cluster:
        yield cluster


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    return write_photo(tmp_path / "gray.png").read_bytes()


def status(cluster: RunningCluster, *arguments: str) -> dict[str, Any]:
    done = cluster.crema("status", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_figures_are_those_of_the_load(cluster: RunningCluster, photo: bytes) -> None:
    with SteadyLoad(cluster.url, photo, per_s=PER_S) as load:
        cluster.wait(lambda: len(load.ended) >= 10, "calls to be answered")
        found = status(cluster, "--window", "2")
    coordinator, preprocessor = (tier["figures"] for tier in found["tiers"])
    version = found["models"][0]["figures"]
    for figures in (coordinator, preprocessor, version):
        assert PER_S * 0.7 < figures["offered_per_s"] < PER_S * 1.3
        assert (figures["refused_per_s"], figures["failed_per_s"]) == (0, 0)
    # the model alone takes 20 ms
    assert 20 <= version["p50_ms"] <= version["p99_ms"]
    assert coordinator["p50_ms"] > version["p50_ms"] * 0.7
    assert 1 <= version["batch_size"] <= 8
    assert version["offered_total"] >= 10
    assert found["unanswered"] == []


def test_a_replica_that_hangs_is_named_and_holds_nobody_up(cluster: RunningCluster) -> None:
    cluster.wait_all_ready()
    victim = cluster.pids("minion", "host")[0]
    usual_s = seconds_of_status(cluster)
    os.kill(victim, signal.SIGSTOP)
    try:
        found, took_s = status(cluster), seconds_of_status(cluster)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert [each["process"] for each in found["unanswered"]] == [f"pair@1.0 (pid {victim})"]
    # starting a Python is most of it
    assert took_s < usual_s + 1.0


def seconds_of_status(cluster: RunningCluster) -> float:
    began = time.monotonic()
    assert cluster.crema("status").returncode == 0
    return time.monotonic() - began


def screen(cluster: RunningCluster, key: bytes | None) -> tuple[str, int]:
    """What `crema top` shows on a terminal of 80 columns until it is ended by a key (None: by SIGINT); its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**cluster.environment, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "crema.cli", "top", "--interval", "0.3"],
        cwd=cluster.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    shown, is_told, deadline = b"", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536)
            if shown.count(b"pair@1.0") >= 2 and not is_told:
                is_told = True
                if key is None:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, key)
        code = process.wait(1)
        while select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536)
        is_as_before = bool(termios.tcgetattr(theirs)[3] & termios.ECHO)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(theirs)
    assert is_as_before, "the terminal does not echo any more"
    return shown.decode(), code


@pytest.mark.parametrize("key", [b"q", None], ids=["q", "Ctrl-C"])
def test_on_a_terminal_it_redraws_within_eighty_columns_and_ends_clean(
    cluster: RunningCluster, key: bytes | None
) -> None:
    shown, code = screen(cluster, key)
    assert code == 0
    # the second screen was entered and left, the cursor hidden and shown
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    # each frame begins with the cursor at home
    lines = re.split(r"[\r\n]+|\x1b\[H", shown)
    assert max(len(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)) for line in lines) <= 80
    assert "Traceback" not in shown
