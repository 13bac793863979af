"""The release verbs and `crema models`: what they ask a cluster for, what they tell, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from crema.cli.main import run
from deploy import handover, running_cluster
from deploy.handover import Handover
from deploy.pointers import Pointers
from deploy.running_cluster import Refused
from tests.deploy.toy_cluster import write_package


class Cluster:
    """A running cluster that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusal: Refused | None = None
        self.models: list[dict[str, Any]] = []

    def run(self, verb: str, asked: Mapping[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
        self.asked.append((verb, dict(asked)))
        progress("checking")
        if self.refusal is not None:
            raise self.refusal
        return Pointers("3.1", {"3.1": None, "3.2": 5.0}).told("tags", 7, {"3.1": "ready", "3.2": "ready"})

    def status(self) -> dict[str, Any]:
        return {"models": self.models}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    found = Cluster()
    monkeypatch.setattr(running_cluster, "find_cluster", lambda file: found)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.mark.parametrize(
    ("line", "verb", "asked"),
    [
        ("release tags@3.2", "release", {"package": "tags@3.2", "canary_percent": None}),
        ("release tags@3.2 --canary 5%", "release", {"package": "tags@3.2", "canary_percent": 5.0}),
        ("promote tags@3.2", "promote", {"model": "tags", "version": "3.2"}),
        ("rollback tags", "rollback", {"model": "tags"}),
        ("retire tags@3.1", "retire", {"model": "tags", "version": "3.1"}),
    ],
)
def test_each_verb_asks_the_running_cluster(
    cluster: Cluster, line: str, verb: str, asked: dict[str, Any]
) -> None:
    assert run(line.split()) == 0
    assert cluster.asked == [(verb, asked)]


def test_a_folder_is_named_whole_because_the_supervisor_runs_elsewhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_package(tmp_path, "tags", "3.2")
    assert run(["release", "model_packages/tags/3.2"]) == 0
    assert cluster.asked[0][1]["package"] == str(tmp_path / "model_packages" / "tags" / "3.2")


def test_what_was_done_is_one_line_and_one_per_version(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["release", "tags@3.2", "--canary", "5%"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["DONE", "release", "revision", "7"]
    assert lines[0].endswith("tags is 3.1, 3.2 canary 5%")
    assert [line.split() for line in lines[1:]] == [
        ["READY", "tags@3.1", "default"],
        ["READY", "tags@3.2", "canary", "5%"],
    ]


def test_as_json_it_is_one_document(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    run(["promote", "tags@3.2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["default"], told["revision"], told["versions"][1]["canary_percent"]) == ("3.1", 7, 5.0)


def test_a_refusal_ends_with_1_and_has_the_reason_first_and_the_traceback_under_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.refusal = Refused("load: no weights\n  try: again", "Traceback\n  model.py")
    assert run(["release", "tags@3.2"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() == ["FAILED", "tags@3.2", "load:", "no", "weights"]
    assert [line.strip() for line in lines[1:]] == ["try: again", "Traceback", "model.py"]


@pytest.mark.parametrize(
    "line",
    ["promote tags", "promote tags@3", "retire tags@new", "rollback tags@3.1", "release tags --canary 0%",
     "release tags --canary much"],
)  # fmt: skip
def test_wrong_use_ends_with_2_and_an_example(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(line.split()) == 2
    assert "example: crema" in capsys.readouterr().err
    assert cluster.asked == []


def test_models_lists_what_each_version_gets_and_why_one_fails(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"model": "tags", "replicas": 1, "ready": 1}
    cluster.models = [
        {**base, "version": "3.1", "state": "ready", "gets": "default", "labels": ["stable"]},
        {
            **base,
            "version": "3.2",
            "state": "failed",
            "ready": 0,
            "problem": "load: no weights",
            "traceback": "Trace",
        },
    ]
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["READY", "tags@3.1", "1", "of", "1", "default", "@stable"]
    assert lines[1].split() == [
        "FAILED",
        "tags@3.2",
        "0",
        "of",
        "1",
        "no",
        "traffic",
        "load:",
        "no",
        "weights",
    ]
    assert lines[2].strip() == "Trace"


@pytest.fixture
def routing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A routing file with no models, beside packages that pass their checks."""

    async def passes(self: object, package: Path, digest: str, progress: object) -> Handover:
        return Handover(package.name != "9.9", digest, "golden: wrong", "Traceback")

    monkeypatch.setattr(handover.Handovers, "of", passes)
    monkeypatch.chdir(tmp_path)
    for version in ("3.1", "3.2", "9.9"):
        write_package(tmp_path, "tags", version)
    path = tmp_path / "routing.json"
    path.write_text(json.dumps({"format": 1, "revision": 1, "models": {}}))
    return path


def test_the_verbs_change_a_routing_file_with_one_record_each(routing: Path) -> None:
    for line in ("release tags@3.1", "release tags@3.2 --canary 5%", "promote tags@3.2", "rollback tags"):
        assert run([*line.split(), "--routing", str(routing)]) == 0
    model = json.loads(routing.read_bytes())["models"]["tags"]
    assert (model["default"], list(model["versions"])) == ("3.1", ["3.1", "3.2"])
    kept = [json.loads(line) for line in routing.with_name("audit.jsonl").read_text().splitlines()]
    assert [each["action"] for each in kept] == ["release", "release", "promote", "rollback"]
    assert len(kept[0]["digest"]) == 64


def test_what_fails_its_check_does_not_come_into_a_routing_file(
    routing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = routing.read_bytes()
    assert run(["release", "tags@9.9", "--routing", str(routing)]) == 1
    assert routing.read_bytes() == before
    assert "golden: wrong" in capsys.readouterr().err
