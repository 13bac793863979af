"""Report: what a load run came to, as one plain document: the JSON that is written, and what the text and the page show. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtest.bottleneck import bottlenecks
from loadtest.cluster_cpu import CpuSample
from loadtest.figures import PERCENTILES, Figures, Latencies, knee
from loadtest.load_run import LoadRun
from loadtest.phase import Phase
from loadtest.tally import ModelTally, Tally

VERSION: Final = 1
MILLION: Final = 1_000_000
_CURVE: Final = (
    *range(0, 90, 5), 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.3, 99.5, 99.7, 99.8, 99.9, 99.95, 99.99, 100,
)  # fmt: skip
# Fewer calls than that have no 99.9th percentile apart from the longest.
_ENOUGH_CALLS: Final = 1000


def build(run: LoadRun, *, price_per_hour: float | None = None, began: str = "") -> dict[str, Any]:
    """The document. `price_per_hour` is what the whole cluster costs; `began` a date for people."""
    counted = [
        (phase, tally, cpu)
        for phase, tally, cpu in zip(run.scenario.phases, run.tallies, run.cpu, strict=True)
        if phase.is_counted
    ]
    together = Tally(run.scenario.slo_s)
    for _, tally, _ in counted:
        together.merge(tally)
    figures = [(phase, tally.outcomes.figures(phase.seconds), tally, cpu) for phase, tally, cpu in counted]
    seconds = sum(phase.seconds for phase, *_ in counted)
    phases = [
        {
            "name": phase.name,
            "arrivals": phase.arrivals,
            "options": dict(phase.query),
            "is_step": phase.is_step,
            "begins_s": phase.begins_s,
            **_figures(of, tally),
            **_cost(of, cpu, price_per_hour),
            "models": _models(tally.models),
        }
        for phase, of, tally, cpu in figures
    ]
    whole = together.outcomes.figures(seconds)
    cpu = _sum_of([cpu for *_, cpu in counted])
    steps = [(phase, of) for phase, of, *_ in figures if phase.is_step]
    return {
        "crema_loadtest": VERSION,
        "began": began,
        "url": run.settings.url,
        "seed": run.scenario.seed,
        "slo_ms": round(run.scenario.slo_s * 1000, 3),
        "slo_percent": round(run.scenario.slo_share * 100, 6),
        "is_cut_short": run.is_cut_short,
        "total": {**_figures(whole, together), **_cost(whole, cpu, price_per_hour)},
        "phases": phases,
        "models": _models(together.models),
        "knee": _knee(steps, run.scenario.slo_share),
        "price_per_hour": price_per_hour,
        "cpu_source": run.cpu_source,
        "cpu_missing": run.cpu_missing,
        "generator": {
            "processes": run.processes,
            "connections": run.connections * run.processes,
            "cpu_share": round(max((_mean(shares) for shares in run.cpu_shares), default=0.0), 3),
            "lag_p99_ms": _ms(together.lag.percentile_s(99)),
            "held": together.held,
            "mean_photo_bytes": round(together.photo_bytes / max(1, together.lag.count)),
        },
        "warnings": _warnings(run, together),
        "notes": _notes(run, together),
        "curve": [
            [percent, _ms(together.outcomes.answered.percentile_s(percent))]
            for percent in (_CURVE if together.outcomes.answered.count else ())
        ],
        "seconds": _seconds(run),
    }


def _figures(of: Figures, tally: Tally) -> dict[str, Any]:
    return {
        "seconds": of.seconds,
        "offered": of.offered,
        "offered_per_s": round(of.offered_per_s, 3),
        "counts": dict(of.counts),
        "goodput_per_s": round(of.goodput_per_s, 3),
        "good_share": _share(of.good_share),
        "refused_share": _share(of.share("refused")),
        "partial_share": _share(of.share("partial")),
        "failed_share": _share(of.share("failed")),
        "lost_share": _share(of.share("lost")),
        "error_share": _share(of.share("failed", "lost")),
        "latency_ms": {
            **{f"p{percent:g}": _ms(of.percentiles_s[percent]) for percent in PERCENTILES},
            "max": _ms(of.max_s),
            "mean": _ms(of.mean_s),
        },
        "refused_p99_ms": _ms(of.refused_p99_s),
        "lag_p99_ms": _ms(tally.lag.percentile_s(99)),
        "codes": dict(of.codes),
    }


def _cost(
    of: Figures, cpu: tuple[CpuSample, CpuSample] | dict[str, float] | None, price_per_hour: float | None
) -> dict[str, Any]:
    """Per million photos that were answered, whole or in part."""
    answered = of.counts["ok"] + of.counts["partial"]
    used = cpu[1].since(cpu[0]) if isinstance(cpu, tuple) else cpu
    million = answered / MILLION
    return {
        "cpu_s": {tier: round(seconds, 3) for tier, seconds in sorted(used.items())} if used else None,
        "cpu_s_per_million": round(sum(used.values()) / million) if used and answered else None,
        "cost_per_million": round(price_per_hour * of.seconds / 3600 / million, 4)
        if price_per_hour is not None and answered
        else None,
    }


def _sum_of(samples: Sequence[tuple[CpuSample, CpuSample] | None]) -> dict[str, float] | None:
    """CPU seconds by tier over all phases; None as soon as one of them is not known."""
    total: dict[str, float] = {}
    for sample in samples:
        if sample is None:
            return None
        for tier, seconds in sample[1].since(sample[0]).items():
            total[tier] = total.get(tier, 0.0) + seconds
    return total


def _models(tallies: Mapping[str, ModelTally]) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "calls": tally.ok + sum(tally.codes.values()),
            "ok": tally.ok,
            "codes": dict(tally.codes.most_common()),
            "total_ms": _spread(tally.total),
            "queue_ms": _spread(tally.queue),
            "inference_ms": _spread(tally.inference),
            "mean_batch": None if tally.mean_batch is None else round(tally.mean_batch, 2),
            "batch_sizes": [[size, count] for size, count in sorted(tally.batch_sizes.items())],
        }
        for name, tally in sorted(tallies.items())
    ]


def _spread(latencies: Latencies) -> dict[str, float | None]:
    return {f"p{percent:g}": _ms(latencies.percentile_s(percent)) for percent in (50, 99)}


def _knee(steps: Sequence[tuple[Phase, Figures]], share: float) -> dict[str, Any]:
    """`step` is None when there were no steps, or when the lowest did not hold; `is_highest`: the knee lies above it."""
    found = knee([of for _, of in steps], share)
    if found is None:
        return {"steps": len(steps), "step": None, "offered_per_s": None, "is_highest": False}
    name = next(phase.name for phase, of in steps if of is found)
    highest = max(of.offered_per_s for _, of in steps)
    return {
        "steps": len(steps),
        "step": name,
        "offered_per_s": round(found.offered_per_s, 3),
        "is_highest": found.offered_per_s == highest,
    }


def _warnings(run: LoadRun, together: Tally) -> list[str]:
    return bottlenecks(
        lag=together.lag,
        cpu_shares=run.cpu_shares,
        held=together.held,
        connections=run.connections * run.processes,
        codes=dict(together.outcomes.codes),
        processes=run.processes,
        cores=len(os.sched_getaffinity(0)),
    )


def _notes(run: LoadRun, together: Tally) -> list[str]:
    """What the figures must not be taken for."""
    found = []
    answered = together.outcomes.answered.count
    if run.is_cut_short:
        found.append(
            "the run was stopped before its end, so figures a second are too low; let it run to its end"
        )
    if 0 < answered < _ENOUGH_CALLS:
        found.append(f"only {answered} answers: p99.9 is the longest of them; send {_ENOUGH_CALLS} or more")
    if run.cpu_missing:
        found.append(f"CPU: {run.cpu_missing}")
    return found


def _seconds(run: LoadRun) -> list[dict[str, Any]]:
    """What became of the calls that were due in each stretch of the run, its warm-up included."""
    together = Tally(run.scenario.slo_s, run.tallies[0].bin_s)
    for tally in run.tallies:
        together.merge(tally)
    return [
        {
            "at_s": number * together.bin_s,
            "seconds": together.bin_s,
            "counts": dict(second.counts),
            "good": second.good,
            "p50_ms": _ms(second.answered.percentile_s(50)),
            "p99_ms": _ms(second.answered.percentile_s(99)),
        }
        for number, second in sorted(together.seconds.items())
    ]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures) if figures else 0.0
