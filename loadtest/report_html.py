"""The report of a load run as one HTML page that holds everything it shows: no script, nothing from outside, all text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from loadtest.figures import KINDS
from loadtest.plot import Line, Mark, bars, plot
from loadtest.report_words import code_words, knee_words, ms, percent

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #66717e; --paper: #fff; --rule: #dfe4ea;
  --ok: #1a7f4b; --p50: #2166ac; --p99: #b2182b; --offered: #66717e; --refused: #e08214; --failed: #b2182b; --partial: #8073ac; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #97a1ad; --paper: #14181d; --rule: #323a44;
  --ok: #53c98b; --p50: #74add1; --p99: #f46d5e; --offered: #97a1ad; --refused: #fdae61; --failed: #f46d5e; --partial: #b2abd2; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.where { color: var(--soft); margin: .2rem 0 1.5rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1rem; margin: 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; font-size: .85rem; }
ul.said { padding-left: 0; list-style: none; } ul.said li { border-left: 4px solid var(--refused); padding: .2rem .8rem; margin: .4rem 0; }
ul.said li.missed { border-color: var(--failed); }
svg { width: 100%; height: auto; margin: .5rem 0; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.title { font-size: 13px; font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--rule); } svg .axis { stroke: var(--soft); } svg .mark { stroke: var(--soft); stroke-dasharray: 5 4; }
div.small { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 1rem; }
svg path, svg line { fill: none; stroke-width: 1.6; } svg .dot { stroke: none; } svg .bar { stroke: none; }
""" + "\n".join(
    f"svg .{kind} {{ stroke: var(--{kind}); }} svg .{kind}.dot, svg .{kind}.bar {{ fill: var(--{kind}); }}"
    for kind in ("ok", "p50", "p99", "offered", "refused", "failed", "partial")
)

_FIGURES: Final = (
    *("phase", "offered/s", "goodput/s", "good", "429", "partial", "errors"),
    *("p50", "p90", "p99", "p99.9", "max", "CPU s / million", "cost / million"),
)


def page(report: dict[str, Any], missed: Sequence[str] = ()) -> str:
    """The whole page. `missed` are the thresholds by which the run has failed."""
    total = report["total"]
    title = f"Load test of {report['url']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="where">{escape(_where(report))}</p>',
        _said(missed, report),
        _headline(report),
        *_plots(report),
        "<h2>Phases</h2>",
        _table(_FIGURES, [_row(phase["name"], phase) for phase in report["phases"]] + [_row("all", total)]),
        *_models(report["models"]),
        *_codes(total["codes"]),
        "<h2>How it was measured</h2>",
        f"<p>{escape(_how(report))}</p>",
    ]
    # whatever the figures hold, the browser loads and runs nothing
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _where(report: dict[str, Any]) -> str:
    total, generator = report["total"], report["generator"]
    processes = f"{generator['processes']} sender{'s' if generator['processes'] > 1 else ''}"
    began = f"{report['began']}, " if report["began"] else ""
    return (
        f"{began}{total['seconds']:.4g} s counted, {total['offered']} calls, {processes}, seed {report['seed']}, "
        f"SLO {report['slo_ms']:g} ms"
    )


def _said(missed: Sequence[str], report: dict[str, Any]) -> str:
    said = [("missed", f"Missed: {each}") for each in missed]
    said += [("warning", f"The generator was a bottleneck: {each}") for each in report["warnings"]]
    said += [("note", each) for each in report["notes"]]
    items = "".join(f'<li class="{kind}">{escape(text)}</li>' for kind, text in said)
    return f'<ul class="said">{items}</ul>' if items else ""


def _headline(report: dict[str, Any]) -> str:
    total, knee = report["total"], report["knee"]
    shown = [
        ("whole answers within the SLO", percent(total["good_share"])),
        ("goodput", f"{total['goodput_per_s']:.4g}/s"),
        ("p50", ms(total["latency_ms"]["p50"])),
        ("p99", ms(total["latency_ms"]["p99"])),
        ("429", percent(total["refused_share"])),
        ("partial answers", percent(total["partial_share"])),
        ("errors", percent(total["error_share"])),
    ]
    if knee["steps"]:
        shown.append(("knee", knee_words(knee)))
    if total["cost_per_million"] is not None:
        shown.append(("cost of a million photos", f"{total['cost_per_million']:,.2f}"))
    if total["cpu_s_per_million"] is not None:
        shown.append(("CPU of a million photos", f"{total['cpu_s_per_million'] / 3600:,.1f} core hours"))
    return "<dl>" + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown) + "</dl>"  # fmt: skip


def _plots(report: dict[str, Any]) -> Iterable[str]:
    slo = Mark(f"SLO {report['slo_ms']:g} ms", y=report["slo_ms"])
    steps = sorted((p for p in report["phases"] if p["is_step"]), key=lambda p: p["offered_per_s"])
    if len(steps) > 1:
        yield "<h2>Load and what it gave</h2>"
        knee = report["knee"]["offered_per_s"]
        marks = [Mark("knee", x=knee)] if knee is not None else []

        def by_load(name: str, kind: str, key: str) -> Line:
            return Line(name, kind, [(step["offered_per_s"], step[key]) for step in steps])

        offered = by_load("offered", "offered", "offered_per_s")
        goodput = by_load("goodput", "ok", "goodput_per_s")
        yield plot(
            "Goodput", "offered, calls a second", "calls a second", [offered, goodput], marks, dots=True
        )
        latency = [
            Line(name, name, [(step["offered_per_s"], step["latency_ms"][name]) for step in steps])
            for name in ("p50", "p99")
        ]
        yield plot("Latency", "offered, calls a second", "ms", latency, [slo, *marks], dots=True, is_log=True)
    yield "<h2>Over time</h2>"
    seconds = _without_gaps(report["seconds"])
    rates = [
        Line(name, kind, [(each["at_s"], sum(each["counts"][k] for k in kinds) / each["seconds"]) for each in seconds])
        for name, kind, kinds in (
            ("offered", "offered", ("ok", "partial", "refused", "failed", "lost")),
            ("whole answers", "ok", ("ok",)),
            ("partial", "partial", ("partial",)),
            ("429", "refused", ("refused",)),
            ("errors", "failed", ("failed", "lost")),
        )
        if any(each["counts"][k] for each in seconds for k in kinds)
    ]  # fmt: skip
    yield plot("Calls by when they were due", "seconds from the start", "calls a second", rates)
    latencies = [
        Line(name, name, [(each["at_s"], each[f"{name}_ms"]) for each in seconds]) for name in ("p50", "p99")
    ]
    yield plot(
        "Latency by when calls were due", "seconds from the start", "ms", latencies, [slo], is_log=True
    )
    yield "<h2>Latency of all answers</h2>"
    curve = Line("latency", "p50", [(_nines(share), latency) for share, latency in report["curve"]])
    yield plot(
        "So many of a hundred answers came within", "percent", "ms", [curve], [slo], is_log=True,
        x_names=[(_nines(share), f"{share:g}") for share in (0, 50, 90, 95, 99, 99.9, 99.99)],
    )  # fmt: skip


def _nines(share: float) -> float:
    """Where a percentile stands: 90, 99 and 99.9 at equal distances, the longest of all one further."""
    return 5.0 if share >= 100 else -math.log10(1 - share / 100)


def _without_gaps(seconds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the stretches in which no call was due, such as pauses between steps."""
    if not seconds:
        return []
    length = seconds[0]["seconds"]
    there = {round(each["at_s"] / length): each for each in seconds}
    none = {"seconds": length, "counts": dict.fromkeys(KINDS, 0), "good": 0, "p50_ms": None, "p99_ms": None}
    return [
        there.get(number) or {"at_s": number * length, **none} for number in range(min(there), max(there) + 1)
    ]


def _row(name: str, of: dict[str, Any]) -> list[str]:
    cost = of["cost_per_million"]
    cpu = of["cpu_s_per_million"]
    return [
        name,
        f"{of['offered_per_s']:.4g}",
        f"{of['goodput_per_s']:.4g}",
        percent(of["good_share"]),
        percent(of["refused_share"]),
        percent(of["partial_share"]),
        percent(of["error_share"]),
        *(ms(of["latency_ms"][name]) for name in ("p50", "p90", "p99", "p99.9", "max")),
        "–" if cpu is None else f"{cpu:,}",
        "–" if cost is None else f"{cost:,.2f}",
    ]


def _models(models: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not models:
        return
    yield "<h2>Models</h2>"
    yield _table(
        ("model", "calls", "ok", "errors", "p50", "p99", "queue p99", "inference p50", "mean batch"),
        [
            [
                model["model"],
                str(model["calls"]),
                str(model["ok"]),
                code_words(model["codes"]),
                ms(model["total_ms"]["p50"]),
                ms(model["total_ms"]["p99"]),
                ms(model["queue_ms"]["p99"]),
                ms(model["inference_ms"]["p50"]),
                "–" if model["mean_batch"] is None else f"{model['mean_batch']:g}",
            ]
            for model in models
        ],
    )
    drawn = []
    for model in models:
        counts = dict(model["batch_sizes"])
        sizes = [(str(size), float(counts.get(size, 0))) for size in range(1, max(counts, default=0) + 1)]
        if sizes:
            drawn.append(bars(f"Batches of {model['model']}", "items in the batch", "items", sizes, "p50"))
    yield f'<div class="small">{"".join(drawn)}</div>'


def _codes(codes: dict[str, int]) -> Iterable[str]:
    if codes:
        yield "<h2>Errors and refusals by code</h2>"
        yield _table(("code", "calls"), [[code, str(count)] for code, count in codes.items()])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _how(report: dict[str, Any]) -> str:
    generator = report["generator"]
    source = f" CPU comes from {report['cpu_source']}." if report["cpu_source"] else ""
    return (
        "Open loop: every call was sent when it was due, and its latency counts from that moment, whatever became of the "
        f"calls before. Calls were sent {ms(generator['lag_p99_ms'])} late at p99, by {generator['processes']} sender"
        f"{'s' if generator['processes'] > 1 else ''} that used {generator['cpu_share']:.0%} of a core, with photos of "
        f"{generator['mean_photo_bytes'] / 1000:.0f} kB on average. Percentiles are of answers, and of calls that waited for one "
        f"until their time was over; they are within 0.25 %.{source}"
    )
