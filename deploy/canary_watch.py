"""CanaryWatch: reads the coordinators' figures while a canary has a share, and hands the rule's decisions on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any, Final

import structlog

from crema.host.config_releases import ReleasesConfig
from deploy.canary_rule import CanaryRule, CanaryWindow, Decision, Tally
from deploy.child import Child
from deploy.release_book import ReleaseBook

EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)

Figures = dict[tuple[str, int | None], dict[str, Tally]]
"""By (coordinator, its pid): per `name@version` what it counted since it began."""


class CanaryWatch:
    """One window per canary. `take_back(model, version, decision)` is called when the rule says so."""

    def __init__(
        self,
        book: ReleaseBook,
        rule: CanaryRule,
        figures: Callable[[], Awaitable[Figures]],
        take_back: Callable[[str, str, Decision], None],
    ) -> None:
        self.said: dict[str, Decision] = {}
        """The last decision about each canary, by `name@version`."""
        self._book = book
        self._rule = rule
        self._figures = figures
        self._take_back = take_back
        self._before: Figures | None = None
        # (model, version, live version) → its window; another live version is another comparison
        self._windows: dict[tuple[str, str, str], CanaryWindow] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.look(monotonic())
            except Exception:  # a canary that nobody watches would be worse than one log line a second
                log.exception("canaries_not_watched")

    async def look(self, now: float) -> None:
        """Read the figures once, and decide."""
        canaries = {
            (name, version, str(self._book.default(name))) for name, version, _ in self._book.canaries()
        }
        self._windows = {key: window for key, window in self._windows.items() if key in canaries}
        self.said = {
            label: said
            for label, said in self.said.items()
            if any(label == f"{name}@{version}" for name, version, _ in canaries)
        }
        if not canaries:
            self._before = None
            return
        found = await self._figures()
        grown = _growth(found, self._before)
        self._before = {**(self._before or {}), **found}
        for key in canaries:
            name, version, live = key
            window = self._windows.get(key)
            if window is None:
                # what was counted before the canary had its share says nothing
                self._windows[key] = CanaryWindow(self._rule, now)
                continue
            window.add(now, grown.get(f"{name}@{version}", Tally()), grown.get(f"{name}@{live}", Tally()))
            self._say(name, version, window.decide(now))

    def _say(self, name: str, version: str, decision: Decision) -> None:
        label = f"{name}@{version}"
        before = self.said.get(label)
        self.said[label] = decision
        if before is None or before.verdict != decision.verdict:
            log.info(
                "canary_judged",
                version=label,
                verdict=decision.verdict,
                reason=decision.reason,
                window_s=self._rule.window_s,
                canary=decision.canary,
                live=decision.live,
            )
        if decision.verdict == "take_back":
            self._take_back(name, version, decision)


def _growth(found: Figures, before: Figures | None) -> dict[str, Tally]:
    """What all coordinators together counted since they were asked before; nothing the first time."""
    grown: dict[str, Tally] = {}
    if before is None:
        return grown
    for source, versions in found.items():
        known = before.get(source, {})
        for label, tally in versions.items():
            grown.setdefault(label, Tally()).add(tally.since(known.get(label, Tally())))
    return grown


def rule_of(config: ReleasesConfig) -> CanaryRule:
    """The rule that a cluster file sets."""
    return CanaryRule(
        window_s=config.window_s,
        min_answers=config.min_answers,
        error_points=config.error_points,
        p99_ratio=config.p99_ratio,
        refused_points=config.refused_points,
    )


async def read_figures(
    coordinators: Iterable[Child], ask: Callable[[Child], Awaitable[dict[str, Any] | None]]
) -> Figures:
    """The figures of all coordinators that answer."""
    children = [child for child in coordinators if child.ports]
    answers = await asyncio.gather(*(ask(child) for child in children))
    figures: Figures = {}
    for child, answer in zip(children, answers, strict=True):
        if answer is None:
            continue
        try:
            figures[child.name, child.pid] = {
                label: Tally.of(entry) for label, entry in answer["versions"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning("figures_not_understood", coordinator=child.name)
    return figures
