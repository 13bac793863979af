"""CanaryWatch: the coordinators' figures become windows, and the rule's decisions are handed on. In virtual time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from crema.host.config_releases import ReleasesConfig
from crema.host.latency_steps import step_of
from deploy.canary_rule import Decision, Tally
from deploy.canary_watch import CanaryWatch, Figures, rule_of
from deploy.release_book import ReleaseBook
from tests.deploy.toy_cluster import resolved, write_package


class Watched:
    """A watch over toy@1.1, a canary beside toy@1.0, and coordinators whose figures the test writes."""

    def __init__(self, book: ReleaseBook) -> None:
        self.book = book
        self.figures: Figures = {}
        self.taken: list[tuple[str, str, Decision]] = []
        rule = rule_of(ReleasesConfig(window_s=10, min_answers=20))
        self.watch = CanaryWatch(book, rule, self._read, self._take_back)

    async def _read(self) -> Figures:
        return dict(self.figures)

    def _take_back(self, name: str, version: str, decision: Decision) -> None:
        self.taken.append((name, version, decision))
        line = self.book.line(name)
        assert line is not None
        self.book.put(name, line.without_canary(version))

    def count(self, coordinator: str, pid: int, **versions: tuple[int, int]) -> None:
        """(good, failed) answers of `v1_0` and `v1_1` since this coordinator began."""
        self.figures[coordinator, pid] = {
            f"toy@{name[1:].replace('_', '.')}": Tally(good, errors, 0, Counter({step_of(20): good}))
            for name, (good, errors) in versions.items()
        }


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    for version in ("1.0", "1.1"):
        write_package(tmp_path, "toy", version)
    more = 'models: {toy: {default: "1.0", versions: {"1.0": {}, "1.1": {canary: 5%}}}}\n'
    return Watched(ReleaseBook(resolved(tmp_path, more), None))


async def test_a_canary_that_fails_is_taken_back(watched: Watched) -> None:
    watched.count("c0", 1, v1_0=(500, 0), v1_1=(0, 0))
    await watched.watch.look(0.0)
    watched.count("c0", 1, v1_0=(900, 0), v1_1=(18, 2))
    await watched.watch.look(1.0)
    assert [(name, version) for name, version, _ in watched.taken] == [("toy", "1.1")]
    assert watched.taken[0][2].canary["answers"] == 20


async def test_what_was_counted_before_it_had_its_share_says_nothing(watched: Watched) -> None:
    watched.count("c0", 1, v1_0=(500, 0), v1_1=(0, 100))
    await watched.watch.look(0.0)
    watched.count("c0", 1, v1_0=(900, 0), v1_1=(50, 100))
    await watched.watch.look(1.0)
    assert watched.taken == []


async def test_the_figures_of_all_coordinators_count_together(watched: Watched) -> None:
    for process in (0, 1):
        watched.count(f"c{process}", process, v1_0=(0, 0), v1_1=(0, 0))
    await watched.watch.look(0.0)
    for process in (0, 1):
        watched.count(f"c{process}", process, v1_0=(200, 0), v1_1=(9, 1))
    await watched.watch.look(1.0)
    assert len(watched.taken) == 1


async def test_a_coordinator_that_was_started_anew_counts_from_nothing(watched: Watched) -> None:
    watched.count("c0", 1, v1_0=(200, 0), v1_1=(1000, 0))
    await watched.watch.look(0.0)
    watched.figures.clear()
    watched.count("c0", 2, v1_0=(200, 0), v1_1=(10, 10))
    await watched.watch.look(1.0)
    assert watched.taken[0][2].canary["answers"] == 20


async def test_a_canary_that_is_good_for_a_window_is_said_to_be(watched: Watched) -> None:
    for second in range(12):
        watched.count("c0", 1, v1_0=(50 * second, 0), v1_1=(5 * second, 0))
        await watched.watch.look(float(second))
    assert watched.watch.said["toy@1.1"].verdict == "good"
    assert watched.taken == []


async def test_nothing_is_asked_while_there_is_no_canary(watched: Watched) -> None:
    line = watched.book.line("toy")
    assert line is not None
    watched.book.put("toy", line.without_canary("1.1"))
    await watched.watch.look(0.0)
    assert watched.watch.said == {}
