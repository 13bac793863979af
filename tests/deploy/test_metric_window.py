"""MetricWindow: rates, means and quantiles between two looks, on series made by hand; and the real format."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crema.host.metrics import Metrics
from deploy.metric_window import MetricWindow, Scrape, joined


def scrape(at_s: float, text: str) -> Scrape:
    return Scrape.parse(at_s, text)


def window(before: str, after: str, seconds: float = 10.0) -> MetricWindow:
    return MetricWindow(((scrape(100.0, before), scrape(100.0 + seconds, after)),))


def buckets(*counts: float) -> str:
    """A histogram with the bounds 0.1, 0.2, 0.4 and infinity; counts are those of each bucket alone."""
    lines, below = [], 0.0
    for bound, count in zip(("0.1", "0.2", "0.4", "+Inf"), counts, strict=True):
        below += count
        lines.append(f'crema_request_seconds_bucket{{tier="minion",le="{bound}"}} {below}')
    return "\n".join(lines)


def test_a_rate_is_the_increase_over_the_time_between_the_looks() -> None:
    found = window(
        'crema_requests_total{code="200"} 100\ncrema_requests_total{code="429"} 7',
        'crema_requests_total{code="200"} 150\ncrema_requests_total{code="429"} 17',
    )
    assert found.rate("requests_total") == 6.0
    assert found.rate("requests_total", code="429") == 1.0
    assert found.increase("requests_total", code="200") == 50


def test_a_counter_that_appears_later_counts_from_nothing() -> None:
    assert window("", 'crema_requests_total{code="503"} 4').increase("requests_total") == 4


def test_a_counter_that_fell_began_anew() -> None:
    assert window("crema_partial_total 90", "crema_partial_total 3").increase("partial_total") == 3


def test_what_was_looked_at_once_has_gauges_and_totals_but_no_rates() -> None:
    found = MetricWindow(((None, scrape(1.0, "crema_pending 5\ncrema_partial_total 9")),))
    assert (found.gauge("pending"), found.total("partial_total")) == (5, 9)
    assert found.rate("partial_total") is None
    assert found.mean("batch_size") is None
    assert found.quantile(0.5, "request_seconds") is None


def test_several_processes_add_up_and_one_that_is_new_adds_no_rate() -> None:
    old = window("crema_partial_total 1\ncrema_pending 1", "crema_partial_total 21\ncrema_pending 2")
    new = MetricWindow(((None, scrape(110.0, "crema_partial_total 5000\ncrema_pending 3")),))
    both = joined([old, new])
    assert both.rate("partial_total") == 2.0
    assert both.gauge("pending") == 5


def test_a_quantile_is_interpolated_inside_its_bucket() -> None:
    found = window(buckets(1, 1, 1, 1), buckets(1, 11, 1, 1))
    assert found.quantile(0.5, "request_seconds", tier="minion") == pytest.approx(0.15)
    assert found.quantile(0.99, "request_seconds") == pytest.approx(0.199)


def test_a_quantile_past_the_last_bound_lies_on_it() -> None:
    assert window(buckets(0, 0, 0, 0), buckets(1, 0, 0, 99)).quantile(0.99, "request_seconds") == 0.4


def test_a_quantile_goes_over_all_processes() -> None:
    fast, slow = (
        window(buckets(0, 0, 0, 0), buckets(50, 0, 0, 0)),
        window(buckets(0, 0, 0, 0), buckets(0, 0, 50, 0)),
    )
    assert joined([fast, slow]).quantile(0.99, "request_seconds") == pytest.approx(0.396)
    assert joined([fast, slow]).quantile(0.25, "request_seconds") == pytest.approx(0.05)


def test_nothing_in_the_window_has_no_quantile_and_no_mean() -> None:
    still = window(buckets(5, 5, 5, 5), buckets(5, 5, 5, 5))
    assert still.quantile(0.5, "request_seconds") is None
    assert window("crema_batch_size_count 4", "crema_batch_size_count 4").mean("batch_size") is None


def test_a_mean_is_of_the_window_alone() -> None:
    found = window(
        "crema_batch_size_sum 1000\ncrema_batch_size_count 1000",
        "crema_batch_size_sum 1080\ncrema_batch_size_count 1010",
    )
    assert found.mean("batch_size") == 8.0


def test_an_increase_is_never_negative_and_quantiles_stay_in_order() -> None:
    found = window(buckets(3, 0, 2, 1), buckets(9, 4, 6, 2))
    shares = [found.quantile(share / 20, "request_seconds") or 0.0 for share in range(1, 20)]
    assert shares == sorted(shares)
    assert all(0 <= each <= 0.4 for each in shares)


def test_our_own_tiers_are_read_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.requests_total.labels("minion", 'a"b\\c\nd', "1.0", "200").inc(3)
    metrics.request_seconds.labels("minion", "tags", "3.1").observe(0.03)
    metrics.busy_ratio.labels("minion", "tags", "3.1").set(math.nan)
    text = metrics.render().decode()
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    ours = {
        (name, tuple(sorted(labels))): value
        for name, samples in Scrape.parse(0.0, text).samples.items()
        for labels, value in samples.items()
    }
    assert ours.keys() == theirs.keys()
    assert all(ours[key] == value or math.isnan(value) for key, value in theirs.items())
