"""LiveStatus: which looks the figures lie between, and who is asked again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import deploy.live_status
from deploy.live_status import LiveStatus
from deploy.metric_scraper import Look, Target
from deploy.metric_window import Scrape

DOCUMENT: dict[str, Any] = {
    "state": "ready",
    "urls": {},
    "processes": [
        {"tier": "preprocessor", "state": "ready", "pid": 3, "ports": {"http": 31}},
        {"tier": "preprocessor", "state": "ready", "pid": 4, "ports": {"http": 41}},
    ],
    "models": [],
}
LABELS = 'tier="preprocessor",model="",version="",code="200"'


class Cluster:
    def status(self) -> dict[str, Any]:
        return DOCUMENT


class World:
    """A clock that sleeping moves, and processes that answer 10 requests a second; those that hang do not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.hanging: set[int | None] = set()
        self.asked: list[list[int | None]] = []
        self.keys: list[str | None] = []
        monkeypatch.setattr(deploy.live_status, "look_at", self.look_at)
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("time.sleep", self.pass_by)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def look_at(self, targets: Iterable[Target], timeout_s: float, key: str | None) -> Look:
        wanted = list(targets)
        self.asked.append([target.pid for target in wanted])
        self.keys.append(key)
        text = f"crema_requests_total{{{LABELS}}} {10 * self.now}"
        return Look(
            {each: Scrape.parse(self.now, text) for each in wanted if each.pid not in self.hanging},
            {each: "silent" for each in wanted if each.pid in self.hanging},
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def figures(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document["tiers"][1]["figures"])


def live(window_s: float) -> LiveStatus:
    return LiveStatus(Cluster(), window_s=window_s, key="crema_k")  # type: ignore[arg-type]


def test_once_looks_twice_with_the_window_between(world: World) -> None:
    found = figures(live(0.3).once())
    assert (found["offered_per_s"], found["window_s"]) == (20.0, 0.3)
    assert world.keys == ["crema_k"] * 2


def test_once_does_not_ask_again_who_did_not_answer_and_names_it(world: World) -> None:
    world.hanging = {3}
    document = live(0.3).once()
    assert world.asked == [[3, 4], [4]]
    assert document["unanswered"] == [{"process": "preprocessor (pid 3)", "problem": "silent"}]
    assert figures(document)["offered_per_s"] == 10.0


def test_the_first_of_many_looks_has_no_rates(world: World) -> None:
    assert figures(live(10.0).again())["offered_per_s"] is None


def test_many_looks_have_a_window_that_moves_along(world: World) -> None:
    watched = live(10.0)
    windows = []
    for _ in range(10):
        windows.append(figures(watched.again())["window_s"])
        world.pass_by(2.0)
    assert windows == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_who_hung_for_a_while_has_figures_again_without_a_jump(world: World) -> None:
    watched = live(10.0)
    watched.again()
    world.pass_by(2.0)
    world.hanging = {3, 4}
    assert watched.again()["tiers"][1]["figures"] is None
    world.pass_by(2.0)
    world.hanging = set()
    assert figures(watched.again())["offered_per_s"] == 20.0
