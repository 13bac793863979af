"""Plot: lines over time as one inline SVG: no script, no font, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 900
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 14, 28
COLOURS: Final = ("#1a6faf", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#5d6d7e", "#16a085", "#7b241c")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: y values at the plot's x values; None leaves a gap. `is_stepped`: it jumps."""

    name: str
    values: Sequence[float | None]
    is_stepped: bool = False
    is_dashed: bool = False


def plot(title: str, xs: Sequence[float], lines: Sequence[Line]) -> str:
    """An SVG; `xs` are seconds, ascending. Values are drawn from 0."""
    most = max((value for line in lines for value in line.values if value is not None), default=0.0)
    top = _round_up(most)
    last = xs[-1] if xs and xs[-1] > 0 else 1.0
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x_of(seconds: float) -> float:
        return _LEFT + wide * seconds / last

    def y_of(value: float) -> float:
        return _TOP + high * (1 - value / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
    ]
    for step in range(5):
        value = top * step / 4
        y = y_of(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_LEFT + wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for step in range(7):
        seconds = last * step / 6
        parts.append(
            f'<text x="{x_of(seconds):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{_time(seconds, last)}</text>'
        )
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        path = _path(line, xs, x_of, y_of)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{_dash(line)}/>')
        y = _TOP + 8 + 16 * index
        parts.append(f'<path d="M{WIDTH - _RIGHT + 8} {y}h16" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{WIDTH - _RIGHT + 28}" y="{y + 4}">{escape(line.name)}</text>')
    parts.append("</svg>")
    return "".join(parts)


def _path(
    line: Line, xs: Sequence[float], x_of: Callable[[float], float], y_of: Callable[[float], float]
) -> str:
    steps: list[str] = []
    is_down = False
    for seconds, value in zip(xs, line.values, strict=True):
        if value is None:
            is_down = False
            continue
        x, y = f"{x_of(seconds):.1f}", f"{y_of(value):.1f}"
        if not is_down:
            steps.append(f"M{x} {y}")
        elif line.is_stepped:
            steps.append(f"H{x}V{y}")
        else:
            steps.append(f"L{x} {y}")
        is_down = True
    return "".join(steps)


def _dash(line: Line) -> str:
    return ' stroke-dasharray="5 4"' if line.is_dashed else ""


def _round_up(most: float) -> float:
    """The next 1, 2, 4, 5 or 8 with zeros."""
    if most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(unit * times for times in (1, 2, 4, 5, 8, 10) if unit * times >= most * (1 - 1e-9))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _time(seconds: float, last: float) -> str:
    if last <= 600:
        return f"{seconds:.0f} s"
    if last <= 3 * 3600:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02d}"
