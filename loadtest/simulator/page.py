"""A result as one HTML page: figures and plots in one file that needs nothing else and runs no script."""

from __future__ import annotations

from html import escape
from typing import Final

from loadtest.simulator.plot import Line, plot
from loadtest.simulator.result import Result
from loadtest.simulator.text_report import rows

_STYLE: Final = (
    "body{font:14px/1.45 sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.6em 0}td,th{padding:2px 12px 2px 0;text-align:left;vertical-align:top}"
    "th{font-size:11px;color:#666}h2{font-size:16px;margin:1.6em 0 .3em}svg{width:100%;height:auto}"
)


def page(title: str, result: Result) -> str:
    """The whole document."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    ]
    if result.summary:
        parts.append(f"<p>{escape(result.summary)}</p>")
    for table in rows(result):
        if table:
            parts.append("<table>" + "".join(map(_row, table)) + "</table>")
    parts += _plots(result)
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _row(cells: list[str]) -> str:
    first, *others = cells
    return f"<tr><th>{escape(first)}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in others) + "</tr>"


def _plots(result: Result) -> list[str]:
    timeline = result.document()["timeline"]
    xs = [moment["at_s"] for moment in timeline]

    def line(name: str, key: str) -> Line:
        return Line(name, [moment[key] for moment in timeline])

    calls = [
        line("offered", "offered_per_s"),
        line("429", "refused_per_s"),
        line("good", "goodput_per_s"),
        line("partial", "partial_per_s"),
        line("failed", "failed_per_s"),
    ]
    found = ["<h2>Calls a second</h2>", plot("Calls a second", xs, calls)]
    found += [
        "<h2>Latency, ms</h2>",
        plot("Latency, ms", xs, [line("p50", "p50_ms"), line("p99", "p99_ms")]),
    ]
    for fleet in result.fleets:
        lines = [
            Line(
                name,
                [moment[name].get(fleet.name, 0) for moment in timeline],
                is_stepped=True,
                is_dashed=name == "wanted",
            )
            for name in ("ready", "wanted", "starting")
        ]
        found += [f"<h2>Machines of {escape(fleet.name)}</h2>", plot(f"Machines of {fleet.name}", xs, lines)]
    return found
