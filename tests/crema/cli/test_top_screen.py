"""A frame of `crema top`: what it shows, in which order, and that it fits."""

from __future__ import annotations

from typing import Any

import click
import pytest

from crema.cli.figure_cells import number
from crema.cli.top_screen import frame


def figures(offered: float = 30.06, **more: Any) -> dict[str, Any]:
    return {
        "window_s": 10.0, "offered_per_s": offered, "accepted_per_s": offered - 1, "refused_per_s": 1.0,
        "failed_per_s": 0.0, "p50_ms": 31.0, "p99_ms": 61.44, "batch_size": 3.21, "busy_ratio": 0.62, "pending": 3.0,
        "places": 64.0, **more,
    }  # fmt: skip


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"model": name, "version": "1.0", "state": "ready", "replicas": 1, "ready": 1, **more}


def document(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "state": "ready",
        "cluster": "/srv/photos/cluster.yaml",
        "processes": [],
        "tiers": [
            {"tier": "coordinator", "state": "ready", "replicas": 2, "ready": 2, "figures": figures()},
            {"tier": "preprocessor", "state": "degraded", "replicas": 2, "ready": 1, "figures": None},
        ],
        "models": list(models),
        "unanswered": [],
        **more,
    }


def shown(found: dict[str, Any], width: int = 80, **options: Any) -> list[str]:
    return [click.unstyle(line) for line in frame(found, width, **options)]


def test_a_frame_of_eighty_columns() -> None:
    tags = model(
        "tags", figures=figures(), replicas=3, ready=2, wanted=3, why="offered 1.4x of what 2 can do"
    )
    failed = model("captions", state="failed", ready=0, figures=None, problem="has no lock")
    assert shown(document(tags, failed), note="q quits") == [
        "READY    /srv/photos/cluster.yaml                           last 10.0 s  q quits",
        "",
        "STATE    PER SECOND, MS  READY OFFERED ACCEPTED REFUSED   P50   P99 BATCH WANTED",
        "READY    coordinator       2/2    30.1     29.1       1    31  61.4  3.21      -",
        "DEGRADED preprocessor      1/2       -        -       -     -     -     -      -",
        "READY    tags@1.0          2/3    30.1     29.1       1    31  61.4  3.21      3",
        "         offered 1.4x of what 2 can do",
        "FAILED   captions@1.0      0/1       -        -       -     -     -     -      -",
        "         has no lock",
    ]


@pytest.mark.parametrize("width", [80, 100, 133, 200])
def test_no_line_is_longer_than_the_terminal_whatever_is_in_it(width: int) -> None:
    long = model("a" * 60, figures=figures(123456.0, p99_ms=25000.0, pending=1e5, places=1e6), why="w" * 300)
    silent = [{"process": "p" * 90, "problem": "x" * 90}]
    lines = shown(document(long, cluster="/" + "c" * 200, unanswered=silent), width)
    assert max(map(len, lines)) <= width


def test_what_a_release_is_waiting_for_stands_under_its_version() -> None:
    assert (
        shown(document(model("tags", figures=None, note="its checklist runs")))[-1].strip()
        == "its checklist runs"
    )


def test_a_wide_terminal_shows_more() -> None:
    titles = shown(document(), 120)[2]
    assert all(title in titles for title in ("FAILED", "BUSY", "PLACES"))
    assert "FAILED" not in shown(document(), 80)[2]


def names(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines[5:]]


def test_models_are_sorted_by_what_was_asked_for_and_then_by_name() -> None:
    found = document(
        model("idle", figures=None),
        model("busy", figures=figures(5.0, p99_ms=900.0)),
        model("also", figures=figures(50.0)),
        model("ace", figures=figures(50.0)),
    )
    assert names(shown(found)) == ["ace@1.0", "also@1.0", "busy@1.0", "idle@1.0"]
    assert names(shown(found, sort="p99"))[0] == "busy@1.0"
    assert names(shown(found, sort="name")) == ["ace@1.0", "also@1.0", "busy@1.0", "idle@1.0"]


def test_replicas_stand_under_their_version_when_asked_for() -> None:
    process = {
        "tier": "minion",
        "role": "host",
        "model": "tags",
        "version": "1.0",
        "state": "busy",
        "pid": 4711,
        "ports": {},
    }
    dead = {**process, "pid": None, "state": "starting", "problem": "killed by SIGKILL"}
    found = document(
        model("tags", figures=figures()), processes=[{**process, "figures": figures(12.0)}, dead]
    )
    assert not any("4711" in line for line in shown(found))
    lines = shown(found, with_replicas=True)
    at = next(index for index, line in enumerate(lines) if "pid 4711" in line)
    assert lines[at].startswith("BUSY ")
    assert " 12 " in lines[at]
    assert lines[at + 2].strip() == "killed by SIGKILL"


def test_who_does_not_answer_is_named() -> None:
    silent = [{"process": "tags@1.0 (pid 5)", "problem": "/metrics did not answer within 0.25 s"}]
    assert shown(document(unanswered=silent))[-1] == (
        "NOTE     tags@1.0 (pid 5): /metrics did not answer within 0.25 s"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.034, "0.03"), (3.0, "3"), (3.14159, "3.14"), (31.46, "31.5"), (314.6, "315"), (5000.0, "5000")],
)  # fmt: skip
def test_a_number_has_three_digits_that_mean_something(value: float | None, text: str) -> None:
    assert number(value) == text
