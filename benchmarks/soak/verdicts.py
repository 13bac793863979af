"""Verdicts: goal, figure and verdict of every fault, a line each as they come, and a Markdown table in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal of one fault. `met` None: nothing was promised, the figure is told."""

    fault: str
    goal: str
    figure: str
    met: bool | None

    @property
    def word(self) -> str:
        """met, MISS or told."""
        return "told" if self.met is None else "met" if self.met else "MISS"


@dataclass
class Verdicts:
    """Collects and prints."""

    fault: str = ""
    found: list[Verdict] = field(default_factory=list)

    def at_most(self, what: str, limit: float, figure: float, unit: str = "") -> None:
        """Met when `figure` is `limit` or less."""
        self._add(f"{what} ≤ {limit:g}{unit}", f"{figure:.3g}{unit}", figure <= limit)

    def at_least(self, what: str, limit: float, figure: float, unit: str = "") -> None:
        """Met when `figure` is `limit` or more."""
        self._add(f"{what} ≥ {limit:g}{unit}", f"{figure:.3g}{unit}", figure >= limit)

    def none(self, what: str, found: Sequence[object]) -> None:
        """Met when there is none; else the first is shown."""
        figure = "0" if not found else f"{len(found)}, the first: {found[0]}"
        self._add(f"{what}: none", figure, not found)

    def tell(self, what: str, figure: str) -> None:
        """A figure without a goal."""
        self._add(what, figure, None)

    def ended_early(self, error: BaseException) -> None:
        """The fault's run could not be finished."""
        lines = str(error).strip().splitlines() or [""]
        self._add("runs to its end", f"{type(error).__name__}: {lines[0][:200]}", False)

    @property
    def all_met(self) -> bool:
        """Whether nothing was missed."""
        return all(each.met is not False for each in self.found)

    def _add(self, goal: str, figure: str, met: bool | None) -> None:
        verdict = Verdict(self.fault, goal, figure, met)
        self.found.append(verdict)
        print(f"{verdict.word:<4}  {verdict.fault:<5} {verdict.goal}: {verdict.figure}", flush=True)


def markdown(verdicts: Iterable[Verdict], heading: str, words: str) -> str:
    """A section with a table, as RESULTS.md has them."""
    lines = [
        f"## {heading}",
        "",
        words,
        "",
        "| fault | goal | figure | verdict |",
        "| --- | --- | --- | --- |",
    ]
    for each in verdicts:
        goal, figure = (text.replace("|", "\\|") for text in (each.goal, each.figure))
        lines.append(f"| {each.fault} | {goal} | {figure} | {each.word} |")
    return "\n".join([*lines, ""])
