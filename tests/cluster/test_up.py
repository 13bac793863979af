"""`crema up` with real tiers: what it serves, what it says, and what the other verbs find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.running import RunningCluster, is_alive, running_cluster
from tests.cluster.toy_packages import write_package, write_photo


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two models that serve, one of them with two replicas, and one that cannot load."""
    folder = tmp_path_factory.mktemp("up")
    packages = folder / "model_packages"
    write_package(packages, "bright", "1.0")
    write_package(packages, "bright", "1.1")
    write_package(packages, "dim")
    write_package(packages, "broken", load='raise RuntimeError("the weights are missing")')
    cluster_yaml = """
default_models: [bright, dim]
preprocessor: {workers: 1}
models:
  bright: {default: "1.0", versions: {"1.0": {replicas: {min: 2, max: 4}}, "1.1": {}}}
"""
    with running_cluster(
        folder, cluster_yaml=cluster_yaml, arguments=["--analyze", str(write_photo(folder / "first.png"))]
    ) as cluster:
        yield cluster


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "gray.png")


def by_state(output: str, state: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(state)]


def test_the_api_answers_for_a_photo(cluster: RunningCluster, photo: Path) -> None:
    status, body = cluster.post(photo.read_bytes())
    assert (status, body["status"], list(body["results"])) == (200, "ok", ["bright", "dim"])
    assert body["results"]["dim"]["output"]["score"] == pytest.approx(0.4)


def test_every_version_is_reachable_by_its_number(cluster: RunningCluster, photo: Path) -> None:
    _, body = cluster.post(photo.read_bytes(), models="bright@1.1")
    assert body["results"]["bright@1.1"]["version"] == "1.1"


def test_up_shows_the_first_photos_answer_and_the_urls(cluster: RunningCluster) -> None:
    cluster.wait(lambda: "Serving." in cluster.output, "the first answer")
    assert any("first.png" in line for line in by_state(cluster.output, "OK"))
    assert any(line.split()[1:3] == ["api", cluster.url] for line in by_state(cluster.output, "READY"))


def test_a_version_that_cannot_load_is_named_with_its_reason_and_stops_no_other(
    cluster: RunningCluster,
) -> None:
    failed = by_state(cluster.output, "FAILED")
    assert [line.split()[1] for line in failed] == ["broken@1.0"]
    assert "the weights are missing" in failed[0]
    assert "Traceback" not in failed[0]


def test_no_process_leaves_a_core_dump(cluster: RunningCluster) -> None:
    status = json.loads(cluster.crema("status", "--json").stdout)
    for process in status["processes"]:
        if process["state"] == "ready":
            limits = Path(f"/proc/{process['pid']}/limits").read_text()
            (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
            assert line.split()[4:6] == ["0", "0"], process


def test_status_lists_every_process_with_pid_and_ports(cluster: RunningCluster) -> None:
    status = json.loads(cluster.crema("status", "--json").stdout)
    kinds = [
        (
            process["tier"],
            process.get("role"),
            process.get("model"),
            process.get("version"),
            sorted(process["ports"]),
        )
        for process in status["processes"]
        if process.get("model") != "broken"
    ]
    inner = ["channel", "http"]
    assert kinds == [
        ("supervisor", None, None, None, []),
        ("coordinator", None, None, None, ["operations", "public"]),
        ("preprocessor", None, None, None, inner),
        ("preprocessor", "decoder", None, None, []),
        ("minion", "host", "bright", "1.0", inner),
        ("minion", "worker", "bright", "1.0", []),
        ("minion", "host", "bright", "1.0", inner),
        ("minion", "worker", "bright", "1.0", []),
        ("minion", "host", "bright", "1.1", inner),
        ("minion", "worker", "bright", "1.1", []),
        ("minion", "host", "dim", "1.0", inner),
        ("minion", "worker", "dim", "1.0", []),
    ]
    # the workers of the broken version come and go
    lasting = [each for each in status["processes"] if each.get("model") != "broken"]
    dead = [each for each in lasting if each["pid"] is not None and not is_alive(each["pid"])]
    assert dead == []
    assert status["processes"][0]["pid"] == cluster.process.pid


def test_status_says_why_a_version_has_failed(cluster: RunningCluster) -> None:
    broken = next(version for version in cluster.status()["models"] if version["model"] == "broken")
    assert (broken["state"], broken["ready"], broken["replicas"]) == ("failed", 0, 1)
    assert "the weights are missing" in broken["problem"]
    host = next(row for row in cluster.status()["processes"] if row.get("model") == "broken")
    assert "model.py" in host["traceback"]
    assert "in load" in host["traceback"]
    assert "in load" in cluster.crema("status").stdout


def test_status_as_text_has_one_line_per_process(cluster: RunningCluster) -> None:
    done = cluster.crema("status")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    # the workers of the broken version come and go
    pids = [row["pid"] for row in cluster.status()["processes"] if row.get("model") != "broken"]
    assert [sum(f"pid {pid} " in f"{line} " for line in lines) for pid in pids] == [1] * len(pids)
    assert lines[0].split() == ["READY", "supervisor", "pid", str(cluster.process.pid)]


def test_each_listed_port_answers(cluster: RunningCluster) -> None:
    import urllib.request

    for process in cluster.status()["processes"]:
        for name in {"public", "operations", "http"} & set(process["ports"]):
            with urllib.request.urlopen(
                f"http://127.0.0.1:{process['ports'][name]}/livez", timeout=10
            ) as answer:
                assert json.loads(answer.read())["live"] is True


def test_the_routing_file_lists_the_ready_replicas_and_the_failed_version(cluster: RunningCluster) -> None:
    models = cluster.routing()["models"]
    assert len(models["bright"]["versions"]["1.0"]["replicas"]) == 2
    assert models["bright"]["default"] == "1.0"
    assert models["broken"]["versions"]["1.0"]["state"] == "failed"
    assert models["broken"]["versions"]["1.0"]["replicas"] == []


def test_warm_up_tensors_were_made_by_the_preprocessor(cluster: RunningCluster) -> None:
    import numpy as np

    files = list((cluster.folder / ".crema" / "warmup").glob("*.npz"))
    assert len(files) == 4
    items = np.load(files[0])["items"]
    assert (items.shape, items.dtype, int(items.max())) == ((1, 16, 16, 3), np.uint8, 51)


def test_a_second_up_in_the_same_folder_refuses_and_names_the_first(cluster: RunningCluster) -> None:
    second = cluster.crema("up")
    assert second.returncode == 1
    assert f"pid {cluster.process.pid}" in second.stderr
    assert "crema status" in second.stderr
    assert cluster.status()["state"] == "ready"


def test_analyze_shows_one_line_per_model(cluster: RunningCluster, photo: Path) -> None:
    done = cluster.crema("analyze", str(photo), "--models", "bright,dim")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["OK", "bright@1.0"],
        ["OK", "dim@1.0"],
    ]
    assert done.stdout.rstrip().endswith("0.400")


def test_analyze_with_json_prints_the_answer(cluster: RunningCluster, photo: Path) -> None:
    done = cluster.crema("analyze", str(photo), "--json")
    answer = json.loads(done.stdout)
    assert answer["photo"] == str(photo)
    assert answer["results"]["bright"]["status"] == "ok"


def test_analyze_says_partial_when_one_model_fails(cluster: RunningCluster, photo: Path) -> None:
    done = cluster.crema("analyze", str(photo), "--models", "bright,broken")
    assert done.returncode == 3
    assert by_state(done.stdout, "ERROR")[0].split()[1] == "broken@1.0"


def test_analyze_fails_when_nothing_was_answered_and_suggests_a_name(
    cluster: RunningCluster, photo: Path
) -> None:
    done = cluster.crema("analyze", str(photo), "--models", "brigth")
    assert done.returncode == 1
    assert "unknown_model" in done.stdout
    assert "did you mean bright" in done.stdout


def records(path: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Path(line["photo"]).name: line for line in lines}


def test_a_folder_becomes_one_line_per_photo(cluster: RunningCluster, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(12):
        write_photo(photos / "deep" / f"{number}.png", (number * 20, number * 20, number * 20))
    (photos / "notes.txt").write_text("not a photo")
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    done = cluster.crema("analyze", str(photos), "-o", str(tmp_path / "out.jsonl"))
    assert done.returncode == 3, done.stderr
    written = records(tmp_path / "out.jsonl")
    assert len(written) == 13
    assert written["5.png"]["status"] == "ok"
    assert written["5.png"]["answer"]["results"]["dim"]["output"]["score"] == pytest.approx(100 / 255)
    assert written["torn.jpg"]["status"] == "failed"
    assert written["torn.jpg"]["problem"]["code"] == "undecodable_image"


def test_a_backfill_goes_on_where_it_was(cluster: RunningCluster, tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{number}.png") for number in range(6)]
    output = tmp_path / "out.jsonl"
    assert cluster.crema("analyze", *map(str, photos[:3]), "-o", str(output)).returncode == 0
    first = records(output)
    with output.open("ab") as file:
        file.write(b'{"photo": "half-writ')
    done = cluster.crema("analyze", *map(str, photos), "-o", str(output))
    assert done.returncode == 0, done.stderr
    assert "3 answered before" in done.stderr
    again = records(output)
    assert len(again) == 6
    assert all(again[name]["answer"]["id"] == line["answer"]["id"] for name, line in first.items())


def test_answers_of_other_models_do_not_count_as_answered(cluster: RunningCluster, photo: Path) -> None:
    output = photo.with_name("out.jsonl")
    assert cluster.crema("analyze", str(photo), "--models", "bright", "-o", str(output)).returncode == 0
    before = output.read_bytes()
    dim = cluster.crema("analyze", str(photo), "--models", "dim", "-o", str(output))
    assert dim.returncode == 2
    assert "holds answers of bright; this run asks dim" in dim.stderr
    default = cluster.crema("analyze", str(photo), "-o", str(output))
    assert default.returncode == 2
    assert "holds answers of bright; this run asks bright,dim" in default.stderr
    assert output.read_bytes() == before


def test_the_cluster_is_found_from_the_folder_it_was_started_in(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    assert cluster.crema("status", "--cluster", str(cluster.cluster_file)).returncode == 0
    elsewhere = cluster.crema("status", "--cluster", str(tmp_path / "cluster.yaml"))
    assert elsewhere.returncode == 1
    assert "crema up" in elsewhere.stderr


def test_the_control_socket_is_this_users_alone(cluster: RunningCluster) -> None:
    written = json.loads((cluster.folder / ".crema" / "supervisor.json").read_text())
    assert Path(written["control"]).stat().st_mode & 0o777 == 0o600
