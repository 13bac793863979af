"""`crema status`: lines for people, the document for machines, and what to do when nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from crema.cli.main import run
from deploy.live_status import LiveStatus
from deploy.metric_scraper import Look, Target
from deploy.metric_window import Scrape
from deploy.status_figures import with_figures

DOCUMENT: dict[str, Any] = {
    "processes": [
        {"tier": "supervisor", "state": "ready", "pid": 1, "ports": {}},
        {"tier": "coordinator", "state": "ready", "pid": 2, "ports": {"public": 8000, "operations": 8001}},
        {"tier": "preprocessor", "state": "ready", "pid": 3, "ports": {"channel": 4000}},
        {"tier": "preprocessor", "role": "decoder", "state": "busy", "pid": 4, "ports": {}},
        {
            "tier": "minion", "role": "host", "model": "tags", "version": "3.1", "state": "starting", "pid": None,
            "ports": {}, "problem": "killed by SIGKILL", "traceback": "Traceback:\n  in load",
        },
    ],
    "models": [
        {"model": "tags", "version": "3.1", "state": "starting", "replicas": 2, "ready": 0, "wanted": 3, "why": "429s"},
        {
            "model": "captions", "version": "1.4", "state": "failed", "replicas": 1, "ready": 0, "problem": "has no lock",
        },
    ],
}  # fmt: skip


CALLS = 'tier="coordinator",model="",version=""'
TAGS = 'tier="minion",model="tags",version="3.1"'
BEFORE = Scrape(0.0, {})
LOOKS = [
    Look(dict.fromkeys(targets, BEFORE), {})
    for targets in [[Target("coordinator", "", "", None, ":1"), Target("minion", "tags", "3.1", 5, ":2")]]
]
LOOKS.append(
    Look(
        {
            target: Scrape.parse(10.0, text)
            for target, text in zip(
                LOOKS[0].scrapes,
                (
                    f'crema_requests_total{{{CALLS},code="200"}} 290\n'
                    f'crema_requests_total{{{CALLS},code="429"}} 10\n'
                    f'crema_request_seconds_bucket{{{CALLS},le="0.1"}} 300\n',
                    f'crema_requests_total{{{TAGS},code="200"}} 20\n'
                    f"crema_batch_size_sum{{{TAGS}}} 20\ncrema_batch_size_count{{{TAGS}}} 5\n",
                ),
                strict=True,
            )
        },
        {Target("preprocessor", "", "", None, ":3"): "/metrics did not answer"},
    )
)


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
        "READY     preprocessor  pid 3        channel 4000",
        "BUSY        decoder     pid 4",
        "STARTING  tags@3.1      not running                                killed by SIGKILL",
        "          Traceback:",
        "            in load",
        "FAILED    captions@1.4  not running                                has no lock",
    ]


def test_json_is_the_document_and_the_figures(
    asked: list[Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["processes"] == DOCUMENT["processes"]
    assert [model["figures"] for model in shown["models"]] == [None, None]
    assert shown.keys() == DOCUMENT.keys() | {"tiers", "unanswered"}


def test_what_was_looked_at_has_a_line_of_figures_with_the_wanted_replicas_and_why(
    asked: list[Path | None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(self: LiveStatus) -> dict[str, Any]:
        return with_figures(DOCUMENT, LOOKS[0], LOOKS[1])

    monkeypatch.setattr(LiveStatus, "once", looked)
    assert run(["status"]) == 0
    assert [line.rstrip() for line in click.unstyle(capsys.readouterr().out).splitlines()[-3:]] == [
        "READY     coordinator  ready 1/1  offered 30/s  accepted 29/s  refused 1/s  p50 50 ms  p99 99 ms",
        "STARTING  tags@3.1     ready 0/2  offered 2/s   accepted 2/s   refused 0/s  p50 - ms   p99 - ms   batch 4  wanted 3  429s",
        "NOTE      preprocessor  /metrics did not answer",
    ]


def test_a_cluster_file_chooses_the_cluster(asked: list[Path | None]) -> None:
    assert run(["status", "--cluster", "other/cluster.yaml"]) == 0
    assert asked == [Path("other/cluster.yaml")]


def test_no_running_cluster_exits_with_1_and_says_how_to_start_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["status"]) == 1
    assert "start one: crema up" in capsys.readouterr().err
