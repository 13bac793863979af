"""`crema status`: lines for people, the document for machines, and what to do when nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from crema.cli.main import run

DOCUMENT: dict[str, Any] = {
    "processes": [
        {"tier": "supervisor", "state": "ready", "pid": 1, "ports": {}},
        {"tier": "coordinator", "state": "ready", "pid": 2, "ports": {"public": 8000, "operations": 8001}},
        {"tier": "preprocessor", "state": "ready", "pid": 3, "ports": {"channel": 4000, "http": 4001}},
        {"tier": "preprocessor", "role": "decoder", "state": "busy", "pid": 4, "ports": {}},
        {
            "tier": "minion", "role": "host", "model": "tags", "version": "3.1", "state": "starting", "pid": None,
            "ports": {}, "problem": "killed by SIGKILL", "traceback": "Traceback:\n  in load",
        },
    ],
    "models": [
        {"model": "tags", "version": "3.1", "state": "starting"},
        {"model": "captions", "version": "1.4", "state": "failed", "problem": "has no lock"},
    ],
}  # fmt: skip


class Running:
    def status(self) -> dict[str, Any]:
        return DOCUMENT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    calls: list[Path | None] = []

    def find(cluster: Path | None) -> Running:
        calls.append(cluster)
        return Running()

    monkeypatch.setattr("deploy.running_cluster.find_cluster", find)
    return calls


def test_one_aligned_line_per_process_and_per_version_without_one(
    asked: list[Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status"]) == 0
    assert [line.rstrip() for line in click.unstyle(capsys.readouterr().out).splitlines()] == [
        "READY     supervisor    pid 1",
        "READY     coordinator   pid 2        public 8000  operations 8001",
        "READY     preprocessor  pid 3        channel 4000  http 4001",
        "BUSY        decoder     pid 4",
        "STARTING  tags@3.1      not running                                killed by SIGKILL",
        "          Traceback:",
        "            in load",
        "FAILED    captions@1.4  not running                                has no lock",
    ]


def test_json_is_the_document(asked: list[Path | None], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_a_cluster_file_chooses_the_cluster(asked: list[Path | None]) -> None:
    assert run(["status", "--cluster", "other/cluster.yaml"]) == 0
    assert asked == [Path("other/cluster.yaml")]


def test_no_running_cluster_exits_with_1_and_says_how_to_start_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["status"]) == 1
    assert "start one: crema up" in capsys.readouterr().err
