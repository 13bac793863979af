"""Plot: lines or bars as one SVG element, with axes and a legend, that needs nothing from outside and no script. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 760
BARS_WIDTH: Final = 400
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 30, 44
_MOST_TICKS: Final = 6
_MOST_NAMES: Final = 16
_WIDEST_BAR: Final = 40.0
Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """Points from left to right; None breaks the line. `kind` is the class that gives it its colour."""

    name: str
    kind: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Mark:
    """A straight line across the plot: at a height, or at a place on the horizontal axis."""

    name: str
    y: float | None = None
    x: float | None = None


class _Scale:
    def __init__(self, least: float, most: float, begin: float, end: float) -> None:
        self.least, self.most = least, most if most > least else least + 1.0
        self._begin, self._length = begin, end - begin

    def __call__(self, value: float) -> float:
        return self._begin + self._part(value) * self._length

    def _part(self, value: float) -> float:
        return (value - self.least) / (self.most - self.least)

    def ticks(self) -> list[float]:
        return ticks(self.least, self.most)


class _LogScale(_Scale):
    """Equal factors are equal lengths: what is quick and what is slow can both be read."""

    def __init__(self, least: float, most: float, begin: float, end: float) -> None:
        least = 10.0 ** math.floor(math.log10(max(least, most / 1e6, 1e-6)))
        super().__init__(least, max(most, least * 10), begin, end)

    def _part(self, value: float) -> float:
        return math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)

    def ticks(self) -> list[float]:
        first = round(math.log10(self.least))
        factors = (1, 2, 5) if self.most / self.least <= 1000 else (1,)
        found = [factor * 10.0**power for power in range(first, first + 9) for factor in factors]
        return [tick for tick in found if tick <= self.most * (1 + 1e-9)]


def ticks(least: float, most: float) -> list[float]:
    """Round numbers within the range: multiples of 1, 2 or 5 times a power of ten, at most six or so."""
    span = most - least
    if not span > 0:
        return [least]
    power = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= _MOST_TICKS)
    first = math.ceil(least / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(most / step + 1e-9) + 1)]


def plot(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    *,
    dots: bool = False,
    is_log: bool = False,
    x_names: Sequence[tuple[float, str]] = (),
) -> str:
    """One figure. Heights begin at 0, unless equal factors are to be equal heights (`is_log`). `dots` shows every point beside
    its line; `x_names` are (place, text) to stand along the horizontal axis instead of numbers."""
    places = [x for line in lines for x, _ in line.points] + [m.x for m in marks if m.x is not None]
    heights = [y for line in lines for _, y in line.points if y is not None]
    heights += [mark.y for mark in marks if mark.y is not None]
    x_of = _Scale(min(places, default=0.0), max(places, default=1.0), _LEFT, WIDTH - _RIGHT)
    most, bottom = max(heights, default=1.0), HEIGHT - _BOTTOM
    if is_log:
        above_0 = [height for height in heights if height > 0]
        y_of: _Scale = _LogScale(min(above_0, default=1.0), most * 1.2, bottom, _TOP)
    else:
        y_of = _Scale(0.0, most * 1.05, bottom, _TOP)
    named = x_names or [(tick, _number(tick)) for tick in x_of.ticks()]
    drawn = _axes(
        [(x_of(x), name) for x, name in named if x_of.least <= x <= x_of.most], y_of, x_label, y_label
    )
    for mark in marks:
        drawn.append(_mark(mark, x_of, y_of))
    for line in lines:
        drawn += _line(line, x_of, y_of, dots)
    return _figure(title, drawn, [(line.name, line.kind) for line in lines])


def bars(title: str, x_label: str, y_label: str, heights: Sequence[tuple[str, float]], kind: str) -> str:
    """One bar for each name."""
    y_of = _Scale(0.0, max((height for _, height in heights), default=1.0) * 1.05, HEIGHT - _BOTTOM, _TOP)
    room = (BARS_WIDTH - _LEFT - _RIGHT) / max(1, len(heights))
    width, every = min(_WIDEST_BAR, room * 0.8), max(1, math.ceil(len(heights) / _MOST_NAMES))
    middles = [_LEFT + (number + 0.5) * room for number in range(len(heights))]
    named = [(x, name) for x, (name, _) in zip(middles, heights, strict=True)]
    drawn = _axes(named[::every], y_of, x_label, y_label, BARS_WIDTH)
    for x, (name, height) in zip(middles, heights, strict=True):
        top = y_of(height)
        drawn.append(
            f'<rect class="{kind} bar" x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{HEIGHT - _BOTTOM - top:.1f}"><title>{escape(name)}: {_number(height)}</title></rect>'
        )
    return _figure(title, drawn, width=BARS_WIDTH)


def _figure(
    title: str, drawn: Sequence[str], legend: Sequence[tuple[str, str]] = (), width: int = WIDTH
) -> str:
    x, keys = float(width - _RIGHT), []
    for name, kind in reversed(legend):
        x -= 7 * len(name) + 26
        keys.append(
            f'<line class="{kind}" x1="{x:.0f}" y1="14" x2="{x + 16:.0f}" y2="14"/>{_text(x + 20, 18, name, "start")}'
        )
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>{"".join(keys)}{"".join(drawn)}</svg>'
    )


def _axes(
    named: Sequence[tuple[float, str]], y_of: _Scale, x_label: str, y_label: str, width: int = WIDTH
) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, width - _RIGHT
    drawn = []
    for tick in y_of.ticks():
        y = y_of(tick)
        drawn.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        drawn.append(_text(_LEFT - 6, y + 4, _number(tick), "end"))
    drawn += [_text(x, bottom + 16, name, "middle") for x, name in named]
    drawn.append(f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    drawn.append(_text((_LEFT + right) / 2, HEIGHT - 8, x_label, "middle"))
    middle = (_TOP + bottom) / 2
    drawn.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">{escape(y_label)}</text>'
    )
    return drawn


def _line(line: Line, x_of: _Scale, y_of: _Scale, dots: bool) -> list[str]:
    path, is_down = [], False
    drawn = []
    for x, y in line.points:
        if y is None:
            is_down = False
            continue
        path.append(f"{'L' if is_down else 'M'}{x_of(x):.1f} {y_of(y):.1f}")
        is_down = True
        if dots:
            drawn.append(
                f'<circle class="{line.kind} dot" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="4">'
                f"<title>{escape(line.name)}: {_number(y)} at {_number(x)}</title></circle>"
            )
    return [f'<path class="{line.kind}" d="{"".join(path)}"/>', *drawn]


def _mark(mark: Mark, x_of: _Scale, y_of: _Scale) -> str:
    if mark.y is not None:
        y = y_of(mark.y)
        return f'<line class="mark" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>' + _text(
            _LEFT + 6, y - 4, mark.name, "start"
        )
    x = x_of(mark.x or 0.0)
    anchor = "end" if x > WIDTH * 0.75 else "start"
    return f'<line class="mark" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{HEIGHT - _BOTTOM}"/>' + _text(
        x + (-5 if anchor == "end" else 5), HEIGHT - _BOTTOM - 6, mark.name, anchor
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
