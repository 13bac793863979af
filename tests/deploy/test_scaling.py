"""Scaling: what is asked each period, what is done about it, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crema.host.config_autoscaling import AutoscalingConfig
from deploy.autoscaler import Limits
from deploy.child import Child
from deploy.scaling import Scaling


class FakeChild:
    """As much of a child as scaling looks at; `figures` are shown."""

    def __init__(self, pid: int | None = 1, state: str = "ready") -> None:
        self.pid = pid
        self.ports = {"http": 1} if pid else {}
        self.state = state
        self.accepted = self.refused = 0.0
        self.load = 0.0

    def shown(self) -> str:
        items = 'crema_items_total{lane="interactive",decision='
        return (
            f'{items}"accepted"}} {self.accepted}\n{items}"full"}} {self.refused}\n'
            f"crema_load_ratio {self.load}\ncrema_ready {int(self.state == 'ready')}\n"
        )


class FakeVersion:
    """Does what it is told, at once."""

    def __init__(self, limits: Limits, children: Sequence[FakeChild], problem: str | None = None) -> None:
        self.label = "tags@3.1"
        self.limits = limits
        self.fakes = list(children)
        self.scaled: list[int] = []
        self.problem = problem

    @property
    def children(self) -> Sequence[Any]:
        return self.fakes

    def scale(self, wanted: int) -> str | None:
        self.scaled.append(wanted)
        return self.problem


async def read(child: Child) -> str | None:
    return child.shown()  # type: ignore[attr-defined,no-any-return]


def scaling(*versions: FakeVersion) -> Scaling:
    return Scaling(AutoscalingConfig(cooldown_s=60), lambda: versions, read)


async def overloaded(version: FakeVersion, periods: int = 2) -> Scaling:
    """A scaling that has seen the first replica refuse two of three items."""
    it = scaling(version)
    for period in range(periods):
        version.fakes[0].accepted += 100
        version.fakes[0].refused += 200
        await it.decide(5.0 * period)
    return it


async def test_a_version_that_refuses_for_two_periods_is_scaled() -> None:
    version = FakeVersion(Limits(1, 4), [FakeChild()])
    it = await overloaded(version)
    assert version.scaled == [3]
    assert it.said["tags@3.1"].document() == {
        "wanted": 3,
        "why": "429s: 1 replica refused 67 % of what was offered",
        "window": {
            "offered": 300.0,
            "accepted": 100.0,
            "refused": 200.0,
            "busy_ratio": 0.0,
            "ready": 1,
            "starting": 0,
        },
    }


async def test_what_is_as_wanted_is_left_alone() -> None:
    version = FakeVersion(Limits(1, 4), [FakeChild()])
    it = scaling(version)
    await it.decide(0.0)
    await it.decide(5.0)
    assert version.scaled == []


async def test_replicas_that_are_starting_show_up_in_the_window() -> None:
    version = FakeVersion(Limits(1, 4), [FakeChild(), FakeChild(None, "starting")])
    it = scaling(version)
    await it.decide(0.0)
    assert it.said["tags@3.1"].sample.starting == 1


async def test_why_it_could_not_be_done_is_said() -> None:
    version = FakeVersion(Limits(1, 4), [FakeChild()], "it needs a GPU")
    it = await overloaded(version)
    assert it.said["tags@3.1"].document()["why"].endswith("; it needs a GPU")


async def test_of_a_version_that_is_gone_nothing_is_remembered() -> None:
    versions = [FakeVersion(Limits(1, 4), [FakeChild()])]
    it = Scaling(AutoscalingConfig(), lambda: versions, read)
    await it.decide(0.0)
    versions.clear()
    await it.decide(5.0)
    assert it.said == {}
