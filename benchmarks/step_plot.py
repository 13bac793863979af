"""A small plot as SVG text: panels over one time axis, step lines and filled areas, a legend beside each panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Points = Sequence[tuple[float, float]]

WIDTH: Final = 760
PANEL: Final = 170
LEFT, RIGHT, TOP, GAP = 56, 150, 34, 34
INK, GRID = "#333", "#e3e3e3"


@dataclass(frozen=True)
class Line:
    """Points joined as steps; filled down to 0 where `is_area`."""

    name: str
    colour: str
    points: Points
    is_area: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over one vertical axis from 0 to `top`."""

    title: str
    top: float
    ticks: Sequence[float]
    lines: Sequence[Line]


def plot(title: str, seconds: float, marks: Sequence[tuple[float, str]], panels: Sequence[Panel]) -> str:
    """The picture; `marks` are dashed uprights with a text each."""
    height = TOP + len(panels) * (PANEL + GAP) + 18
    right = WIDTH - RIGHT

    def x(at: float) -> float:
        return round(LEFT + at / seconds * (right - LEFT), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{title}</text>',
    ]
    for index, panel in enumerate(panels):
        top = TOP + index * (PANEL + GAP) + 14
        bottom = top + PANEL - 14

        def y(value: float, panel: Panel = panel, bottom: float = bottom, top: float = top) -> float:
            return round(bottom - min(value, panel.top) / panel.top * (bottom - top), 1)

        parts.append(f'<text x="{LEFT}" y="{top - 5}">{panel.title}</text>')
        for tick in panel.ticks:
            parts.append(f'<path d="M{LEFT} {y(tick)}H{right}" stroke="{GRID}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>')
        for at, text in marks:
            parts.append(f'<path d="M{x(at)} {top}V{bottom}" stroke="#999" stroke-dasharray="3 3"/>')
            if index == 0:
                parts.append(f'<text x="{x(at) + 4}" y="{top + 11}" fill="#777">{text}</text>')
        for place, line in enumerate(panel.lines):
            steps = "".join(f"H{x(at)}V{y(value)}" for at, value in line.points[1:])
            first_at, first = line.points[0]
            if line.is_area:
                path = f"M{x(first_at)} {y(0)}V{y(first)}{steps}V{y(0)}Z"
                parts.append(f'<path d="{path}" fill="{line.colour}" fill-opacity="0.55"/>')
            else:
                parts.append(
                    f'<path d="M{x(first_at)} {y(first)}{steps}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
                )
            parts.append(
                f'<rect x="{right + 14}" y="{top + 18 * place}" width="12" height="12" fill="{line.colour}"/>'
            )
            parts.append(f'<text x="{right + 32}" y="{top + 10 + 18 * place}">{line.name}</text>')
        if index == len(panels) - 1:
            for tick in range(0, int(seconds) + 1, 30):
                parts.append(f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle">{tick} s</text>')
    return "\n".join([*parts, "</svg>", ""])
