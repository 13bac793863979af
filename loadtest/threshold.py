"""Threshold: a condition under which a load run has failed, as it is written: `p99>500ms`, `refused>1%`, `knee<200`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crema.host.mistakes import did_you_mean

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_WRITTEN = re.compile(
    r"\s*(?:(?P<phase>[^:<>]+):)?\s*(?P<figure>[A-Za-z0-9_.]+)\s*(?P<sign>[<>]=?)\s*(?P<value>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-z/%]*)\s*\Z"
)
# unit → what one of it is in milliseconds, in shares, in calls a second
_UNITS: Final[dict[str, dict[str, float]]] = {
    "time": {"ms": 1.0, "s": 1000.0},
    "share": {"%": 0.01},
    "rate": {"": 1.0, "/s": 1.0},
}
_LATENCIES: Final = ("p50", "p90", "p99", "p99.9", "max", "mean")
_SHARES: Final = {
    "good": "good_share",
    "refused": "refused_share",
    "429": "refused_share",
    "partial": "partial_share",
    "failed": "failed_share",
    "lost": "lost_share",
    "errors": "error_share",
}
_RATES: Final = {"goodput": "goodput_per_s", "offered": "offered_per_s"}
FIGURES: Final = (*_LATENCIES, "refused_p99", "lag_p99", *_SHARES, *_RATES, "knee")


class ThresholdError(ValueError):
    """Not a threshold; the text says what one looks like."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The run has failed if `figure sign value` holds: of one phase, or of everything that was counted."""

    written: str
    figure: str
    sign: str
    value: float
    """In milliseconds, as a share, or a second."""
    phase: str | None = None

    @classmethod
    def parse(cls, written: str) -> Threshold:
        """`[PHASE:]FIGURE>VALUE` with ms, s, % or /s. Raises ThresholdError."""
        found = _WRITTEN.match(written)
        if found is None:
            raise ThresholdError(
                f"{written!r} is no threshold; write [PHASE:]FIGURE, > or <, and a value with its unit: p99>500ms"
            )
        figure, unit = found["figure"], found["unit"]
        if figure not in FIGURES:
            close = did_you_mean(figure, list(FIGURES))
            hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(FIGURES)}"
            raise ThresholdError(f"{written!r}: there is no figure {figure}; {hint}")
        kind = "share" if figure in _SHARES else "rate" if figure in (*_RATES, "knee") else "time"
        if unit not in _UNITS[kind]:
            example = {"time": "500ms", "share": "1%", "rate": "200"}[kind]
            raise ThresholdError(
                f"{written!r}: {figure} takes a value like {example}, not one in {unit or 'nothing'}"
            )
        if figure == "knee" and found["phase"]:
            raise ThresholdError(
                f"{written!r}: the knee is of all steps; write knee{found['sign']}{found['value']}"
            )
        phase = found["phase"].strip() if found["phase"] else None
        return cls(written.strip(), figure, found["sign"], float(found["value"]) * _UNITS[kind][unit], phase)

    def missed(self, report: Mapping[str, Any]) -> str | None:
        """What the figure was, when the run has failed by it; None when it has not. Of a report's document.

        A figure that there is nothing to say of has failed, too: nobody should take silence for success.
        """
        if self.figure == "knee":
            found = report["knee"]["offered_per_s"] or 0.0
            return f"{self.written}: the knee is at {found:.4g}/s" if self._holds(found) else None
        of = report["total"]
        if self.phase is not None:
            named = [phase for phase in report["phases"] if phase["name"] == self.phase]
            if not named:
                names = ", ".join(phase["name"] for phase in report["phases"])
                return f"{self.written}: there is no phase {self.phase}; there are {names}"
            of = named[0]
        value, shown = self._value(of)
        if value is None:
            return f"{self.written}: no call was there to say it of"
        return f"{self.written}: it is {shown}" if self._holds(value) else None

    def _holds(self, value: float) -> bool:
        return _OPERATORS[self.sign](value, self.value)

    def _value(self, of: Mapping[str, Any]) -> tuple[float | None, str]:
        if self.figure in _SHARES:
            share = of[_SHARES[self.figure]]
            return share, "" if share is None else f"{share:.3%}"
        if self.figure in _RATES:
            rate: float = of[_RATES[self.figure]]
            return rate, f"{rate:.4g}/s"
        if self.figure in _LATENCIES:
            ms = of["latency_ms"][self.figure]
        else:
            ms = of["refused_p99_ms" if self.figure == "refused_p99" else "lag_p99_ms"]
        return ms, "" if ms is None else f"{ms:.4g} ms"
