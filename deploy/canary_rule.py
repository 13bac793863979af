"""The rule by which a canary is taken back. Pure: counts and the time come in, a decision comes out.

Both versions are looked at through the same sliding window, so that trouble which hits both (a slow disk, a flood) takes
nothing back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from crema.host.latency_steps import step_of, upper_ms

# One slow answer is chance: so many are a finding.
LEAST_SLOW: Final = 3
# A ratio of two times that nobody can tell apart says nothing.
LEAST_SLOWER_MS: Final = 10.0

Verdict = Literal["waiting", "good", "take_back"]


@dataclass(frozen=True, slots=True)
class CanaryRule:
    """The limits. Shares are in percentage points, times in seconds and milliseconds."""

    window_s: float = 60.0
    min_answers: int = 50
    """Of the canary within the window; before that nothing is decided."""
    error_points: float = 2.0
    """Failed parts: at most so many points more than the live version's share."""
    p99_ratio: float = 1.5
    """The 99th percentile: at most so many times the live version's."""
    refused_points: float = 5.0
    """Answers with 429: at most so many points more than the live version's share."""


@dataclass(slots=True)
class Tally:
    """How the parts of one version ended. `latency` counts good answers by `crema.host.latency_steps`."""

    good: int = 0
    errors: int = 0
    refused: int = 0
    latency: Counter[int] = field(default_factory=Counter)

    @property
    def answers(self) -> int:
        """All of them."""
        return self.good + self.errors + self.refused

    @property
    def error_share(self) -> float:
        """In percent."""
        return 100 * self.errors / self.answers if self.answers else 0.0

    @property
    def refused_share(self) -> float:
        """In percent."""
        return 100 * self.refused / self.answers if self.answers else 0.0

    @property
    def p99_ms(self) -> float | None:
        """The time that 99 of 100 good answers stayed within; None without any."""
        total = sum(self.latency.values())
        above = total - int(0.99 * total + 0.999999)
        for step in sorted(self.latency, reverse=True):
            above -= self.latency[step]
            if above < 0:
                return upper_ms(step)
        return None

    def slower_than(self, ms: float) -> int:
        """How many good answers took longer."""
        limit = step_of(ms)
        return sum(count for step, count in self.latency.items() if step > limit)

    def add(self, other: Tally) -> None:
        """Take another's counts in."""
        self.good += other.good
        self.errors += other.errors
        self.refused += other.refused
        self.latency.update(other.latency)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Tally:
        """One version's entry of a coordinator's `/versions`. Raises KeyError, TypeError or ValueError."""
        tally = cls(latency=Counter({int(step): int(count) for step, count in entry["latency"].items()}))
        for code, count in entry["codes"].items():
            if code == "200":
                tally.good += int(count)
            elif code == "429":
                tally.refused += int(count)
            else:
                tally.errors += int(count)
        return tally

    def since(self, before: Tally) -> Tally:
        """What was counted since `before`; all of it when the counting began anew meanwhile."""
        grown = Tally(
            self.good - before.good,
            self.errors - before.errors,
            self.refused - before.refused,
            Counter({step: count - before.latency[step] for step, count in self.latency.items()}),
        )
        has_begun_anew = min(grown.good, grown.errors, grown.refused, *grown.latency.values(), 0) < 0
        return self if has_begun_anew else grown

    def shown(self) -> dict[str, Any]:
        """For logs and records."""
        p99 = self.p99_ms
        return {
            "answers": self.answers,
            "error_percent": round(self.error_share, 2),
            "refused_percent": round(self.refused_share, 2),
            "p99_ms": None if p99 is None else round(p99, 1),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` is one line with the figures; `canary` and `live` are what the window held."""

    verdict: Verdict
    reason: str
    canary: dict[str, Any]
    live: dict[str, Any]


class CanaryWindow:
    """What a canary and its live version did in the last `window_s`. Times are of any one clock that only goes forward."""

    def __init__(self, rule: CanaryRule, now: float) -> None:
        self.rule = rule
        self._began = now
        self._parts: deque[tuple[float, Tally, Tally]] = deque()

    def add(self, now: float, canary: Tally, live: Tally) -> None:
        """What was counted since the last call."""
        if canary.answers or live.answers:
            self._parts.append((now, canary, live))

    def decide(self, now: float) -> Decision:
        """What the window says now. `take_back` as soon as there are answers enough; `good` once a whole window had them."""
        while self._parts and self._parts[0][0] <= now - self.rule.window_s:
            self._parts.popleft()
        canary, live = Tally(), Tally()
        for _, of_canary, of_live in self._parts:
            canary.add(of_canary)
            live.add(of_live)
        if canary.answers < self.rule.min_answers:
            verdict: Verdict = "waiting"
            reason = f"{canary.answers} of {self.rule.min_answers} answers in {self.rule.window_s:g} s"
        elif (worse := self._worse(canary, live)) is not None:
            verdict, reason = "take_back", worse
        elif now - self._began >= self.rule.window_s:
            verdict, reason = "good", f"{canary.answers} answers within the rule in {self.rule.window_s:g} s"
        else:
            verdict, reason = "waiting", f"{canary.answers} answers within the rule so far"
        return Decision(verdict, reason, canary.shown(), live.shown())

    def _worse(self, canary: Tally, live: Tally) -> str | None:
        rule = self.rule
        if canary.error_share > live.error_share + rule.error_points:
            return (
                f"{canary.error_share:.1f} % of its answers failed, {live.error_share:.1f} % of the live version's"
                f" (allowed: {rule.error_points:g} points more)"
            )
        if canary.refused_share > live.refused_share + rule.refused_points:
            return (
                f"{canary.refused_share:.1f} % of its answers were 429, {live.refused_share:.1f} % of the live version's"
                f" (allowed: {rule.refused_points:g} points more)"
            )
        p99 = live.p99_ms
        if p99 is None or live.answers < rule.min_answers:
            return None
        allowed_ms = max(p99 * rule.p99_ratio, p99 + LEAST_SLOWER_MS)
        slow = canary.slower_than(allowed_ms)
        if slow >= LEAST_SLOW and slow > canary.good / 100:
            return (
                f"its p99 is {canary.p99_ms:.0f} ms, the live version's {p99:.0f} ms"
                f" (allowed: {rule.p99_ratio:g} times as long)"
            )
        return None
