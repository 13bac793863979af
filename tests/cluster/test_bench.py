"""`crema bench` with real processes: the figures, the curve that a minion starts from, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crema.host.manifest import load_manifest
from crema.host.measured_curve import MeasuredCurve, curve_path
from tests.cluster.conftest import Start
from tests.cluster.running_minion import ROOT, TOYS, running_minion
from tests.cluster.toy_packages import write_package


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`crema bench ARGUMENTS` in `folder`, every worker run by our own Python."""
    (folder / "temporary").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "crema.cli", "bench", *arguments],
        cwd=folder,
        env=surroundings(folder),
        capture_output=True,
        text=True,
        timeout=90,
    )


def surroundings(folder: Path) -> dict[str, str]:
    """Every worker is run by our own Python, and temporary files lie where a test sees them."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CREMA_ENV_PYTHON": sys.executable,
        "TMPDIR": str(folder / "temporary"),
    }


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `--json` printed."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_tensor_model_gets_its_times_memory_and_suggestion(tmp_path: Path) -> None:
    found = document(bench(tmp_path, str(TOYS / "sleepy" / "1.0"), "--json"))
    assert [row["n"] for row in found["sizes"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(row["ms"] >= 20 and row["worst_ms"] >= row["ms"] for row in found["sizes"])
    assert all(row["memory_bytes"] > 5_000_000 for row in found["sizes"])
    assert found["suggestion"]["max_size"] == 8
    assert found["curve"] is None
    assert "--cluster FILE" in found["notes"][0]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_image_model_of_the_cluster_is_measured_on_its_examples_and_its_curve_is_stored(
    tmp_path: Path,
) -> None:
    package = write_package(tmp_path / "model_packages", "bright", predict="time.sleep(0.002 * len(batch))")
    (tmp_path / "cluster.yaml").write_text("{}\n")
    done = bench(tmp_path, "bright@1.0")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "MEASURED", *(f"n={n}" for n in range(1, 9)), "SUGGEST", "SUGGEST", "STORED",
    ]  # fmt: skip
    digest = load_manifest(package).digest
    assert (tmp_path / ".crema" / "warmup" / f"{digest}.npz").is_file()
    curve = MeasuredCurve.read(curve_path(tmp_path / ".crema" / "curves", digest, "cpu"))
    assert curve.model == "bright@1.0"
    assert [n for n, _ in curve.points] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(seconds >= 0.002 * n for n, seconds in curve.points)


def test_a_model_that_does_not_load_fails_with_its_reason_and_the_next_step(tmp_path: Path) -> None:
    done = bench(tmp_path, str(TOYS / "unloadable" / "1.0"))
    assert done.returncode == 1
    assert "weights/nowhere.safetensors is not in the package" in done.stderr
    assert "then: crema bench" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        ("if len(batch) == 3: raise ValueError('three')", "a batch of 3: "),
        ("import os\n        if len(batch) == 3: os._exit(7)", "it exited with status 7"),
    ],
    ids=["raises", "dies"],
)
def test_a_batch_that_fails_is_named(tmp_path: Path, predict: str, reason: str) -> None:
    package = write_package(tmp_path / "packages", "bright", predict=predict)
    done = bench(tmp_path, str(package))
    assert done.returncode == 1
    assert reason in done.stderr
    assert "then: crema bench" in done.stderr


def test_sizes_without_memory_end_the_ladder_and_are_not_suggested(tmp_path: Path) -> None:
    package = write_package(
        tmp_path / "packages", "bright", predict="if len(batch) > 4: raise MemoryError('no more')"
    )
    found = document(bench(tmp_path, str(package), "--json"))
    assert [row["n"] for row in found["sizes"]] == [1, 2, 3, 4]
    assert found["suggestion"]["max_size"] == 4
    assert any("no larger batches" in note for note in found["notes"])


def test_an_interrupt_ends_the_processes_and_leaves_no_files(tmp_path: Path) -> None:
    package = write_package(tmp_path / "packages", "bright", predict="time.sleep(0.2)")
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "crema.cli", "bench", str(package)],
        cwd=tmp_path,
        env=surroundings(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "measuring batches" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert said.strip().endswith("crema: stopped")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert list((tmp_path / "temporary").iterdir()) == []


async def test_a_minion_with_a_curve_predicts_from_it_before_it_served_anything(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    MeasuredCurve("sleepy@1.0", "cpu", ((1, 3.0), (8, 3.0))).write(path)
    async with running_minion("sleepy", "--curve", str(path)) as minion:
        # two batches of 3 s do not fit into its 500 ms: it runs single items until it has learned otherwise
        header, _ = await minion.infer(*range(8))
        assert header["status"] == 200
        assert await minion.metric("crema_batch_size_count") == 8


async def test_a_curve_that_cannot_be_read_is_logged_and_the_minion_serves(tmp_path: Path) -> None:
    (tmp_path / "curve.json").write_text("nonsense")
    async with running_minion("sleepy", "--curve", str(tmp_path / "curve.json")) as minion:
        header, _ = await minion.infer(*range(8))
        assert header["status"] == 200
        assert await minion.metric("crema_batch_size_count") == 1
        assert any(event["event"] == "curve_not_used" for event in minion.log)


def test_up_hands_a_stored_curve_to_the_minions_of_that_package_only(start: Start, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package = write_package(site / "model_packages", "bright")
    write_package(site / "model_packages", "other", summary="Another one")
    path = curve_path(site / ".crema" / "curves", load_manifest(package).digest, "cpu")
    MeasuredCurve("bright@1.0", "cpu", ((1, 0.001), (8, 0.002))).write(path)
    cluster = start()
    cluster.wait_all_ready()
    lines = {
        name: Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        for name in ("bright", "other")
        for pid in cluster.pids("minion", "host", name)
    }
    assert lines["bright"][lines["bright"].index("--curve") + 1] == str(path)
    assert "--curve" not in lines["other"]
