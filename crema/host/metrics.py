"""Every metric of every tier, in one table (design: 6.5). One registry per process; label values come from closed sets.

Where several processes are one tier (`coordinator.processes`), the variable `PROMETHEUS_MULTIPROC_DIR` names a folder that
they keep their figures in, and each of them renders the sum: counters of a process that died stay in it, its gauges go.

Callers bind labels once (`metrics.requests_total.labels(...)`) and keep the child: a bound update costs a third of
one that looks its labels up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from crema.host.process_cpu import ProcessCpu

SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
LOAD_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)

MODEL: Final = ("tier", "model", "version")


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name without the prefix, what it counts, its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = SECONDS
    together: Literal["livesum", "livemin", "livemax"] = "livesum"
    """A gauge's value where several processes are one tier."""


TABLE: Final = (
    Row("requests_total", "counter", "Requests answered, by HTTP status code", (*MODEL, "code")),
    Row(
        "refused_total",
        "counter",
        "Requests refused at a gate: full, deadline, quota, draining, bulk",
        (*MODEL, "reason", "lane"),
    ),
    Row(
        "items_total",
        "counter",
        "Items that came to a gate, by what it decided: accepted, full, deadline, bulk, draining",
        (*MODEL, "lane", "decision"),
    ),
    Row("request_seconds", "histogram", "From a request's arrival to its answer", MODEL),
    Row("queue_wait_seconds", "histogram", "From admission to the start of the batch", MODEL),
    Row("batch_size", "histogram", "Items per batch", MODEL, SIZES),
    Row("batch_seconds", "histogram", "From a batch's hand-over to its outcomes", MODEL),
    Row("preprocess_seconds", "histogram", "Time in one stage of preprocessing", ("stage",)),
    Row("pending", "gauge", "Places taken, the running batch included", MODEL),
    Row("places", "gauge", "Places in all", MODEL),
    Row(
        "busy_ratio",
        "gauge",
        "Share of the last 10 s in which a batch was running",
        MODEL,
        together="livemax",
    ),
    Row(
        "gpu_memory_bytes",
        "gauge",
        "Memory of the minion's GPU: reserved by its workers, used by all processes, total",
        (*MODEL, "kind"),
        together="livemax",
    ),
    Row(
        "load_ratio",
        "gauge",
        "Share of its capacity, in full batches, that was used in the last 10 s",
        MODEL,
        together="livemax",
    ),
    Row("ready", "gauge", "1 when ready for traffic, else 0", MODEL, together="livemin"),
    Row("starting", "gauge", "1 while it is on its way to ready, else 0", MODEL, together="livemax"),
    Row("partial_total", "counter", "Answers in which at least one model failed and one succeeded", ()),
    Row("retries_total", "counter", "Second tries on another replica, by how they ended", ("outcome",)),
    Row(
        "worker_restarts_total",
        "counter",
        "Worker or decoder processes replaced, by reason",
        (*MODEL, "reason"),
    ),
    Row(
        "dropped_total",
        "counter",
        "Admitted work dropped before it ran: expired, abandoned, quarantined",
        (*MODEL, "reason"),
    ),
    Row("batch_splits_total", "counter", "Batches that raised and were split", MODEL),
    Row(
        "model_load_seconds",
        "histogram",
        "From the worker's start to the end of its warm-up",
        MODEL,
        LOAD_SECONDS,
    ),
)

SHARED_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The table's metrics as attributes (`metrics.requests_total`), in a registry of their own."""

    requests_total: Counter
    refused_total: Counter
    items_total: Counter
    request_seconds: Histogram
    queue_wait_seconds: Histogram
    batch_size: Histogram
    batch_seconds: Histogram
    preprocess_seconds: Histogram
    pending: Gauge
    places: Gauge
    busy_ratio: Gauge
    gpu_memory_bytes: Gauge
    load_ratio: Gauge
    ready: Gauge
    starting: Gauge
    partial_total: Counter
    retries_total: Counter
    worker_restarts_total: Counter
    dropped_total: Counter
    batch_splits_total: Counter
    model_load_seconds: Histogram

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        folder = os.environ.get(SHARED_FOLDER_VARIABLE)
        self.shared_folder = Path(folder) if folder else None
        """Where this process and its siblings keep their figures; None: it is alone."""
        self.registry.register(ProcessCpu())
        for row in TABLE:
            metric: Any
            if row.kind == "counter":
                metric = Counter(f"crema_{row.name}", row.help, row.labels, registry=self.registry)
            elif row.kind == "gauge":
                metric = Gauge(
                    f"crema_{row.name}",
                    row.help,
                    row.labels,
                    registry=self.registry,
                    multiprocess_mode=row.together,
                )
            else:
                metric = Histogram(
                    f"crema_{row.name}", row.help, row.labels, registry=self.registry, buckets=row.buckets
                )
            setattr(self, row.name, metric)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format; those of all processes, where several are one tier."""
        if self.shared_folder is None:
            return generate_latest(self.registry)
        _forget_dead(self.shared_folder)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self.shared_folder))  # type: ignore[no-untyped-call]
        together.register(ProcessCpu(lambda: _pids(self.shared_folder)))
        return generate_latest(together)


def _forget_dead(folder: Path) -> None:
    """Remove the gauges of processes that are gone."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _pids(folder: Path | None) -> set[int]:
    """Of the processes that keep their figures in the folder and live."""
    return {int(path.stem.rpartition("_")[2]) for path in (folder or Path()).glob("gauge_live*.db")}
