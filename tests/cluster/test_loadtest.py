"""`crema loadtest` against a real cluster: what it counts is what the cluster did, CPU time included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two models; a batch of `sleepy` takes 50 ms, at most 4 items: 80 a second."""
    folder = tmp_path_factory.mktemp("loadtest")
    sleepy = write_package(folder / "packages", "sleepy", predict="import time; time.sleep(0.05)")
    manifest = (sleepy / "model.yaml").read_text()
    (sleepy / "model.yaml").write_text(manifest.replace("max_size: 8", "max_size: 4"))
    bright = write_package(folder / "packages", "bright")
    with running_cluster(
        folder / "site",
        [sleepy, bright],
        cluster_yaml="preprocessor: {workers: 1}\ndefault_models: [sleepy, bright]\n",
    ) as running:
        running.wait_all_ready(30)
        yield running


def sent(cluster: RunningCluster, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report of a run."""
    done = cluster.crema("loadtest", "--json", "-", "--draw", "64x48", *arguments)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def steady(cluster: RunningCluster) -> dict[str, Any]:
    """A load that both models have time for."""
    return sent(
        cluster,
        *("--rate", "30", "--duration", "1.5s", "--arrivals", "constant", "--slo", "1s", "--price-per-hour", "3.6"),
    )  # fmt: skip


def test_a_steady_load_is_answered_and_told_by_model(steady: dict[str, Any]) -> None:
    assert steady["total"]["counts"] == {"ok": 45, "partial": 0, "refused": 0, "failed": 0, "lost": 0}
    models = {model["model"]: model for model in steady["models"]}
    assert set(models) == {"sleepy@1.0", "bright@1.0"}
    assert models["sleepy@1.0"]["ok"] == 45
    assert models["sleepy@1.0"]["inference_ms"]["p50"] >= 50
    assert steady["total"]["latency_ms"]["p50"] >= 50
    assert sum(count for _, count in models["sleepy@1.0"]["batch_sizes"]) == 45


def test_cpu_time_of_every_process_is_read_on_this_machine(steady: dict[str, Any]) -> None:
    assert {"coordinator", "preprocessor", "supervisor", "sleepy", "bright"} <= set(steady["total"]["cpu_s"])
    assert steady["total"]["cpu_s_per_million"] > 0
    assert steady["total"]["cost_per_million"] == pytest.approx(3.6 * 1.5 / 3600 / 45 * 1e6, rel=0.001)


def test_two_senders_share_a_run_and_operations_listeners_tell_cpu_time(cluster: RunningCluster) -> None:
    report = sent(
        cluster,
        *("--rate", "40", "--duration", "0.5s", "--arrivals", "constant", "--processes", "2"),
        *("--operations", cluster.operations_url),
    )
    assert report["generator"]["processes"] == 2
    assert report["total"]["offered"] == 20
    assert sum(report["total"]["cpu_s"].values()) > 0
    assert "process_cpu_seconds_total" in report["cpu_source"]


def test_steps_above_capacity_are_refused_in_part_and_show_the_knee(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    report = sent(
        cluster,
        *("--models", "sleepy", "--rate", "80", "--steps", "0.3,4", "--duration", "1.2s", "--slo", "2s"),
        *("--deadline-ms", "500", "--html", str(page), "--fail-if", "4x:refused>1%"),
        code=1,
    )  # fmt: skip
    low, high = report["phases"]
    assert low["good_share"] > 0.99 and high["refused_share"] > 0.2
    assert report["knee"]["step"] == "0.3x"
    assert report["missed"] and "4x:refused>1%" in report["missed"][0]
    assert "<svg" in page.read_text()


def test_a_model_that_is_not_there_is_told_before_anything_is_sent(cluster: RunningCluster) -> None:
    done = cluster.crema("loadtest", "--rate", "10", "--models", "sleeepy", "--draw", "64x48")
    assert done.returncode == 1
    assert "404 unknown_model" in done.stderr
