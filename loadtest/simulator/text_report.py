"""A result as rows of text for people: what first, figures after. `crema simulate` aligns and prints them."""

from __future__ import annotations

from loadtest.simulator.result import Result

# Changes of a fleet that are shown; all stand in the JSON.
_MOST_CHANGES = 6


def rows(result: Result) -> list[list[list[str]]]:
    """Tables of rows; in each the first cell says what the row is."""
    return [_calls(result), _fleets(result), _costs(result), _changes(result), _notes(result)]


def _calls(result: Result) -> list[list[str]]:
    figures = result.figures
    good = figures.good_share or 0.0
    slo_ms = result.ledger.slo_s * 1000
    table = [
        [
            "CALLS",
            f"offered {result.offered_per_s:,.1f}/s",
            f"goodput {result.goodput_per_s:,.1f}/s ({good:.2%})",
            f"429 {result.share('refused'):.2%}",
            f"partial {result.share('partial'):.2%}",
            f"failed {result.share('failed', 'lost'):.2%}",
        ],
        [
            "LATENCY",
            *(f"p{percent:g} {_ms(result.latency_ms(percent))}" for percent in figures.percentiles_s),
            f"SLO {slo_ms:g} ms",
        ],
    ]
    bulk = result.ledger.outcomes["bulk"]
    if bulk.offered:
        answered = bulk.counts["ok"] / result.counted_s
        share = bulk.counts["refused"] / bulk.offered
        table.append(["BULK", f"answered {answered:,.1f}/s", f"429 {share:.2%}", ""])
    if figures.codes:
        table.append(["CODES", ", ".join(f"{code} {count:,}" for code, count in figures.codes.items())])
    return table


def _fleets(result: Result) -> list[list[str]]:
    table = []
    for fleet in result.fleets:
        fewest, mean, most = result.machines(fleet.name)
        batch = f"mean batch {fleet.items / fleet.batches:.1f}" if fleet.batches else ""
        turns = f"{len(fleet.changes)} changes" if fleet.changes else ""
        table.append(["FLEET", fleet.name, f"ready {fewest}–{most}", f"mean {mean:.2f}", batch, turns])
    return table


def _costs(result: Result) -> list[list[str]]:
    paid = [cost for cost in result.costs if cost.kind is not None]
    table = [["COST", each.fleet, each.kind or "", _hours(each.hours), f"{each.price:,.2f}"] for each in paid]
    if paid:
        table.append(["COST", "all", "", _hours(result.hours), f"{result.price:,.2f}"])
        answers = result.goodput_per_s * result.seconds
        if answers:
            table.append(["COST", "per million good answers", "", "", f"{result.price / answers * 1e6:,.2f}"])
    return table


def _changes(result: Result) -> list[list[str]]:
    table = []
    for fleet in result.fleets:
        for change in fleet.changes[:_MOST_CHANGES]:
            table.append(["SCALED", fleet.name, f"at {change.at:,.0f} s", f"to {change.wanted}", change.why])
        if len(fleet.changes) > _MOST_CHANGES:
            table.append(["SCALED", fleet.name, "", "", f"and {len(fleet.changes) - _MOST_CHANGES} more"])
    return table


def _notes(result: Result) -> list[list[str]]:
    per_call = result.attempts / max(1, result.ledger.offered)
    tries = result.second_tries
    made = tries.get("ok", 0) + tries.get("failed", 0) + tries.get("discarded", 0)
    lapse = f", one of {result.time_lapse:g} seconds" if result.time_lapse > 1 else ""
    speed = result.ledger.offered / max(result.took_s, 1e-9)
    return [
        [
            "TRIES",
            f"{per_call:.3f} requests per call, {made:,} second tries, {tries.get('denied', 0):,} denied",
        ],
        [
            "NOTE",
            f"{result.ledger.offered:,} calls simulated in {result.took_s:.1f} s of CPU ({speed:,.0f}/s), seed {result.seed}{lapse}",
        ],
    ]


def _hours(hours: float) -> str:
    return f"{hours:,.1f} machine-hours" if hours >= 10 else f"{hours:.2f} machine-hours"


def _ms(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.1f} ms"
