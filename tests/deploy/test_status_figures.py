"""Figures in the status document: which metrics they come from, and what is said of who did not answer."""

from __future__ import annotations

import json
from typing import Any

from deploy.metric_scraper import Look, Target
from deploy.metric_window import MetricWindow, Scrape
from deploy.status_figures import figures, with_figures

COORDINATOR = Target("coordinator", "", "", None, "127.0.0.1:8001")
ONE = Target("minion", "tags", "3.1", 11, "127.0.0.1:7001")
OTHER = Target("minion", "tags", "3.1", 12, "127.0.0.1:7003")
DOCUMENT: dict[str, Any] = {
    "state": "ready",
    "processes": [
        {"tier": "supervisor", "state": "ready", "pid": 1, "ports": {}},
        {"tier": "coordinator", "state": "ready", "pid": 2, "ports": {"public": 8000, "operations": 8001}},
        {"tier": "preprocessor", "state": "starting", "pid": 3, "ports": {}},
        {"tier": "minion", "role": "host", "model": "tags", "version": "3.1", "state": "busy", "pid": 11, "ports": {"http": 7001}},
        {"tier": "minion", "role": "worker", "model": "tags", "version": "3.1", "state": "busy", "pid": 111, "ports": {}},
        {"tier": "minion", "role": "host", "model": "tags", "version": "3.1", "state": "ready", "pid": 12, "ports": {"http": 7003}},
    ],
    "models": [
        {"model": "tags", "version": "3.1", "state": "ready", "replicas": 2, "ready": 2, "why": "kept"},
        {"model": "tags", "version": "3.2", "state": "failed", "replicas": 1, "ready": 0},
    ],
}  # fmt: skip


def minion(at_s: float, ok: int, refused: int, *, busy: float = 0.5) -> Scrape:
    labels = 'tier="minion",model="tags",version="3.1"'
    return Scrape.parse(
        at_s,
        f'crema_requests_total{{{labels},code="200"}} {ok}\n'
        f'crema_requests_total{{{labels},code="429"}} {refused}\n'
        f'crema_requests_total{{{labels},code="503"}} {ok / 10}\n'
        f"crema_batch_size_sum{{{labels}}} {ok}\ncrema_batch_size_count{{{labels}}} {ok / 4}\n"
        f'crema_request_seconds_bucket{{{labels},le="0.1"}} {ok}\n'
        f'crema_request_seconds_bucket{{{labels},le="+Inf"}} {ok}\n'
        f"crema_busy_ratio{{{labels}}} {busy}\ncrema_pending{{{labels}}} 3\ncrema_places{{{labels}}} 32\n",
    )


def test_what_came_is_offered_and_what_was_not_429_is_accepted() -> None:
    window = MetricWindow(((minion(0, 0, 0), minion(10, 100, 40)),))
    found = figures(window, "minion", "tags", "3.1")
    assert (found.offered_per_s, found.accepted_per_s, found.refused_per_s) == (15.0, 11.0, 4.0)
    assert (found.failed_per_s, found.batch_size) == (1.0, 4.0)
    assert (found.p50_ms, found.p99_ms) == (50.0, 99.0)
    assert (found.offered_total, found.accepted_total, found.refused_total) == (150, 110, 40)


def test_other_tiers_and_versions_are_not_counted() -> None:
    window = MetricWindow(((minion(0, 0, 0), minion(10, 100, 40)),))
    for named in (("minion", "tags", "3.2"), ("coordinator", "", "")):
        assert figures(window, *named).offered_per_s == 0


def looks() -> tuple[Look, Look]:
    before = Look({ONE: minion(0, 0, 0), OTHER: minion(0, 0, 0)}, {})
    after = Look(
        {ONE: minion(10, 100, 0, busy=0.9), OTHER: minion(10, 300, 0, busy=0.3)},
        {COORDINATOR: "/metrics: answered 401"},
    )
    return before, after


def test_replicas_are_one_row_of_their_version_and_each_has_its_own() -> None:
    shown = with_figures(DOCUMENT, *looks())
    version = shown["models"][0]["figures"]
    assert (version["offered_per_s"], version["busy_ratio"], version["places"]) == (44.0, 0.6, 64.0)
    offered = [each.get("figures", {}).get("offered_per_s") for each in shown["processes"]]
    assert offered == [None, None, None, 11.0, None, 33.0]


def test_who_did_not_answer_is_named_and_has_no_figures() -> None:
    shown = with_figures(DOCUMENT, *looks())
    assert shown["unanswered"] == [{"process": "coordinator", "problem": "/metrics: answered 401"}]
    assert shown["tiers"][0] == {
        "tier": "coordinator", "state": "ready", "replicas": 1, "ready": 1, "figures": None,
    }  # fmt: skip
    assert shown["models"][1]["figures"] is None


def test_a_tier_says_how_many_of_it_are_ready() -> None:
    preprocessor = with_figures(DOCUMENT, *looks())["tiers"][1]
    assert (preprocessor["state"], preprocessor["ready"], preprocessor["replicas"]) == ("starting", 0, 1)


def test_what_the_autoscaler_says_of_a_tier_stands_in_its_row() -> None:
    said = {"wanted": 2, "why": "offered 1.4x of what one can do"}
    preprocessor = with_figures({**DOCUMENT, "preprocessor": said}, *looks())["tiers"][1]
    assert said.items() <= preprocessor.items()


def test_the_members_that_were_there_stay_as_they_were() -> None:
    before = json.dumps(DOCUMENT)
    shown = with_figures(DOCUMENT, *looks())
    assert json.dumps(DOCUMENT) == before
    for name in ("processes", "models"):
        for mine, theirs in zip(shown[name], DOCUMENT[name], strict=True):
            assert theirs.items() <= mine.items()


def test_the_first_look_alone_gives_places_and_no_rates() -> None:
    version = with_figures(DOCUMENT, None, looks()[1])["models"][0]["figures"]
    assert (version["places"], version["offered_per_s"], version["p99_ms"]) == (64.0, None, None)
