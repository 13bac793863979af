"""Figures: what a tier or a model version was asked for and did in a window, as `crema status` and `crema top` show it.

Pure: a window in, numbers out. A figure that cannot be told is None: nothing came, or nobody was looked at twice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deploy.metric_scraper import Look
from deploy.metric_window import MetricWindow, joined


@dataclass(frozen=True, slots=True)
class Figures:
    """Rates count requests (of a coordinator: calls)."""

    window_s: float
    offered_per_s: float | None
    accepted_per_s: float | None
    """Those that were not refused, however they ended."""
    refused_per_s: float | None
    """Answered 429: healthy, but full."""
    failed_per_s: float | None
    """Answered with a 5xx."""
    p50_ms: float | None
    p99_ms: float | None
    batch_size: float | None
    busy_ratio: float | None
    """The mean over the processes."""
    pending: float | None
    places: float | None
    offered_total: float
    """Since the processes that run now were started; so are the next two."""
    accepted_total: float
    refused_total: float

    def document(self) -> dict[str, Any]:
        """As the status document has it: rounded, so that people can read it, too."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def figures(window: MetricWindow, tier: str, model: str = "", version: str = "") -> Figures:
    """Those of one tier (a minion: of one model version) in a window of its processes."""
    labels = {"tier": tier, "model": model, "version": version}
    offered = window.rate("requests_total", **labels)
    refused = window.rate("requests_total", **labels, code="429")
    offered_total = window.total("requests_total", **labels)
    refused_total = window.total("requests_total", **labels, code="429")
    busy = window.gauge("busy_ratio", **labels)
    return Figures(
        window_s=window.seconds,
        offered_per_s=offered,
        accepted_per_s=None if offered is None or refused is None else offered - refused,
        refused_per_s=refused,
        failed_per_s=_failed_per_s(window, labels),
        p50_ms=_ms(window.quantile(0.5, "request_seconds", **labels)),
        p99_ms=_ms(window.quantile(0.99, "request_seconds", **labels)),
        batch_size=window.mean("batch_size", **labels),
        busy_ratio=None if busy is None else busy / len(window.pairs),
        pending=window.gauge("pending", **labels),
        places=window.gauge("places", **labels),
        offered_total=offered_total,
        accepted_total=offered_total - refused_total,
        refused_total=refused_total,
    )


def _failed_per_s(window: MetricWindow, labels: dict[str, str]) -> float | None:
    rates = [window.rate("requests_total", **labels, code=code) for code in ("500", "502", "503", "504")]
    told = [rate for rate in rates if rate is not None]
    return sum(told) if told else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def with_figures(document: dict[str, Any], before: Look | None, after: Look) -> dict[str, Any]:
    """A copy of a status document with what two looks tell of it.

    Adds `tiers` (coordinator and preprocessor), `figures` to every model version and every process that was looked at,
    and `unanswered`: whose `/metrics` could not be had, and why.
    """
    windows = {
        target: MetricWindow(((before.scrapes.get(target) if before else None, scrape),))
        for target, scrape in after.scrapes.items()
    }

    def of(tier: str, model: str = "", version: str = "", pid: int | None = None) -> dict[str, Any] | None:
        chosen = [
            window
            for target, window in windows.items()
            if (target.tier, target.model, target.version) == (tier, model, version)
            and pid in (None, target.pid)
        ]
        return figures(joined(chosen), tier, model, version).document() if chosen else None

    processes = []
    for process in document["processes"]:
        shown = dict(process)
        if process["pid"] is not None and process.get("role") in (None, "host"):
            found = of(process["tier"], process.get("model", ""), process.get("version", ""), process["pid"])
            if found is not None:
                shown["figures"] = found
        processes.append(shown)
    return {
        **document,
        "processes": processes,
        "tiers": [_tier(document, tier, of(tier)) for tier in ("coordinator", "preprocessor")],
        "models": [
            {**version, "figures": of("minion", version["model"], version["version"])}
            for version in document["models"]
        ],
        "unanswered": [
            {"process": target.label, "problem": problem} for target, problem in after.problems.items()
        ],
    }


def _tier(document: dict[str, Any], tier: str, found: dict[str, Any] | None) -> dict[str, Any]:
    mine = [each for each in document["processes"] if each["tier"] == tier and "role" not in each]
    ready = [each for each in mine if each["state"] in ("ready", "busy")]
    state = "ready" if mine and len(ready) == len(mine) else "degraded" if ready else "starting"
    if any(each["state"] == "draining" for each in mine):
        state = "draining"
    elif not ready and any(each["state"] == "failed" for each in mine):
        state = "failed"
    shown = {"tier": tier, "state": state, "replicas": len(mine), "ready": len(ready), "figures": found}
    # what the autoscaler says of a tier stands beside the processes, where it scales one
    return {**shown, **document.get(tier, {})}
