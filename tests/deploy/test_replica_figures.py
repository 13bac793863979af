"""What the autoscaler is told of replicas, read from what they show."""

from __future__ import annotations

import pytest

from crema.host.metrics import Metrics
from deploy.replica_figures import ReplicaFigures, Replicas, read_figures

LABELS = {"tier": "minion", "model": "tags", "version": "3.1"}


def test_only_interactive_items_and_refusals_for_want_of_room_are_counted() -> None:
    metrics = Metrics()
    for number, (lane, decision) in enumerate(
        [
            ("interactive", "accepted"),
            ("interactive", "full"),
            ("interactive", "deadline"),
            ("interactive", "draining"),
            ("bulk", "accepted"),
            ("bulk", "full"),
            ("bulk", "bulk"),
        ]
    ):
        metrics.items_total.labels(**LABELS, lane=lane, decision=decision).inc(10**number)
    metrics.refused_total.labels(**LABELS, reason="quota", lane="interactive").inc(5000)
    metrics.load_ratio.labels(**LABELS).set(0.25)
    metrics.ready.labels(**LABELS).set(1)
    metrics.model_load_seconds.labels(**LABELS).observe(4.0)
    figures = read_figures(metrics.render().decode())
    assert figures == ReplicaFigures(
        accepted=1, refused=110, load_ratio=0.25, is_ready=True, is_starting=False, boots=1, boots_s=4.0
    )


def test_a_replica_that_shows_nothing_yet_has_no_figures() -> None:
    assert read_figures("") == ReplicaFigures()


def seen(accepted: float = 0, refused: float = 0, **more: object) -> ReplicaFigures:
    return ReplicaFigures(accepted, refused, **{"is_ready": True, **more})  # type: ignore[arg-type]


def test_a_period_is_what_the_counters_grew_by() -> None:
    replicas = Replicas()
    replicas.sample(0.0, {1: seen(100, 10), 2: seen(50, 5)})
    sample = replicas.sample(5.0, {1: seen(130, 20), 2: seen(70, 5)})
    assert (sample.accepted, sample.refused, sample.ready) == (50, 10, 2)


def test_a_process_that_is_new_counts_from_nothing_and_one_that_is_gone_takes_nothing_back() -> None:
    replicas = Replicas()
    replicas.sample(0.0, {1: seen(100)})
    assert replicas.sample(5.0, {2: seen(7)}).accepted == 7


def test_one_that_did_not_answer_in_time_stands_where_it_stood_and_is_made_up_for_later() -> None:
    replicas = Replicas()
    replicas.sample(0.0, {1: seen(100)})
    sample = replicas.sample(5.0, {1: None})
    assert (sample.accepted, sample.ready) == (0, 1)
    assert replicas.sample(10.0, {1: seen(140)}).accepted == 40


def test_the_load_is_the_mean_over_those_that_are_ready() -> None:
    sample = Replicas().sample(
        0.0, {1: seen(load_ratio=0.9), 2: seen(load_ratio=0.3), 3: seen(load_ratio=0.0, is_ready=False)}
    )
    assert sample.busy_ratio == pytest.approx(0.6)


def test_those_that_start_are_counted_also_before_they_show_anything() -> None:
    sample = Replicas().sample(0.0, {1: seen(), 2: seen(is_ready=False, is_starting=True)}, 2)
    assert (sample.ready, sample.starting) == (1, 3)


def test_the_time_of_a_boot_is_the_mean_of_those_seen() -> None:
    replicas = Replicas()
    assert replicas.boot_s == 0.0
    replicas.sample(0.0, {1: seen(boots=1, boots_s=3.0), 2: seen(boots=2, boots_s=9.0), 3: seen()})
    assert replicas.boot_s == 4.0
