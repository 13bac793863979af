"""The report of a load run as lines on a terminal: one aligned line per thing, what it is first, the problem last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crema.cli.table import aligned
from loadtest.report_words import NOTHING, code_words, knee_words, ms, percent

_HEAD = (
    "",
    "offered/s",
    "goodput/s",
    "good",
    "429",
    "partial",
    "errors",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
)


def report_lines(report: dict[str, Any], missed: Sequence[str] = ()) -> list[str]:
    """All of it. `missed` are the thresholds by which the run has failed."""
    total = report["total"]
    rows = [_row("PHASE", phase["name"], phase) for phase in report["phases"]]
    rows.append(_row("TOTAL", f"{total['seconds']:.4g} s", total))
    lines = aligned([["", *_HEAD, ""], *rows])
    if report["models"]:
        head = ["", "", "calls", "ok", "p50", "p99", "queue p99", "inference", "batch", "errors"]
        lines += ["", *aligned([head, *(_model(model) for model in report["models"])])]
    lines += ["", *aligned(_further(report))]
    lines += [line for each in _said(report, missed) for line in aligned([each])]
    return lines


def _row(kind: str, name: str, of: dict[str, Any]) -> list[str]:
    latency = of["latency_ms"]
    cells = [
        f"{of['offered_per_s']:.4g}",
        f"{of['goodput_per_s']:.4g}",
        *(percent(of[f"{share}_share"]) for share in ("good", "refused", "partial", "error")),
        *(ms(latency[name]) for name in ("p50", "p90", "p99", "p99.9", "max")),
    ]
    return [kind, name, *cells, ""]


def _model(model: dict[str, Any]) -> list[str]:
    return [
        "MODEL",
        model["model"],
        str(model["calls"]),
        str(model["ok"]),
        ms(model["total_ms"]["p50"]),
        ms(model["total_ms"]["p99"]),
        ms(model["queue_ms"]["p99"]),
        ms(model["inference_ms"]["p50"]),
        NOTHING if model["mean_batch"] is None else f"{model['mean_batch']:g}",
        code_words(model["codes"]),
    ]


def _further(report: dict[str, Any]) -> list[list[str]]:
    """What is one figure of the whole run."""
    total, knee, generator = report["total"], report["knee"], report["generator"]
    rows = []
    for code, count in total["codes"].items():
        rows.append(["CODE", code, f"{count} calls", percent(count / total["offered"])])
    if knee["steps"]:
        held = f"{report['slo_percent']:g} % whole within {report['slo_ms']:g} ms"
        if knee["step"] is None:
            said = f"not even the lowest step held it: {held}"
        elif knee["is_highest"]:
            said = f"the highest step held it, so the knee lies above: {held}"
        else:
            said = f"{knee['step']} is the highest load that held it: {held}"
        rows.append(["KNEE", knee_words(knee), said])
    if total["cpu_s"] is not None:
        by_tier = ", ".join(f"{tier} {seconds:.2f}" for tier, seconds in total["cpu_s"].items())
        per = total["cpu_s_per_million"]
        words = "" if per is None else f"{per:,} core seconds per million photos"
        rows.append(["CPU", f"{sum(total['cpu_s'].values()):.2f} s", words, by_tier])
    if total["cost_per_million"] is not None:
        rows.append(
            [
                "COST",
                f"{total['cost_per_million']:,.2f}",
                "per million photos answered",
                f"at {report['price_per_hour']:g} an hour for the whole cluster",
            ]
        )
    rows.append(
        [
            "SENDER",
            f"{generator['processes']} process{'es' if generator['processes'] > 1 else ''}",
            f"CPU {generator['cpu_share']:.0%}",
            f"sent {ms(generator['lag_p99_ms'])} late at p99",
        ]
    )
    return rows


def _said(report: dict[str, Any], missed: Sequence[str]) -> list[list[str]]:
    said = [["NOTE", note] for note in report["notes"]]
    said += [["WARNING", f"the generator was a bottleneck: {warning}"] for warning in report["warnings"]]
    return said + [["FAILED", each] for each in missed]
