"""What a measured curve suggests for a manifest."""

from __future__ import annotations

import pytest

from crema.cli.suggestion import MOST_WAITING_BYTES, seconds_of, suggest

LINE = [(1, 0.011), (4, 0.014), (32, 0.042)]


def test_the_largest_batch_of_which_two_fit_into_the_promise_is_suggested() -> None:
    found = suggest(LINE, 0.060, item_bytes=1)
    assert found.max_size == 20
    assert found.batch_s == pytest.approx(0.030)
    assert found.keeps_promise


def test_a_batch_that_fits_exactly_is_taken() -> None:
    assert suggest([(1, 0.25), (2, 0.5)], 0.5, item_bytes=1).max_size == 1
    assert suggest([(1, 0.125), (2, 0.25)], 0.5, item_bytes=1).max_size == 2


def test_no_size_beyond_the_largest_measured_one_is_suggested() -> None:
    assert suggest(LINE, 60.0, item_bytes=1).max_size == 32


def test_a_promise_that_single_items_break_is_said_to_be_broken() -> None:
    found = suggest(LINE, 0.010, item_bytes=1)
    assert (found.max_size, found.keeps_promise) == (1, False)


def test_places_are_what_full_batches_finish_within_the_promise() -> None:
    assert suggest([(1, 0.02), (8, 0.02)], 0.5, item_bytes=1).max_pending == 25 * 8


def test_several_workers_finish_as_many_times_as_much() -> None:
    assert suggest([(1, 0.02), (8, 0.02)], 0.5, item_bytes=1, workers=3).max_pending == 75 * 8


def test_there_are_places_for_two_full_batches_even_when_the_promise_is_broken() -> None:
    assert suggest([(1, 2.0), (8, 9.0)], 0.5, item_bytes=1, workers=2).max_pending == 4


def test_waiting_items_fill_only_so_much_memory() -> None:
    item_bytes = MOST_WAITING_BYTES // 100
    assert suggest([(1, 0.02), (8, 0.02)], 5.0, item_bytes=item_bytes).max_pending == 100


def test_the_hosts_own_work_bounds_the_places_of_a_model_that_takes_no_time() -> None:
    assert suggest([(1, 0.0), (32, 0.0)], 0.5, item_bytes=1).max_pending <= 10_000


def test_a_curve_that_falls_is_read_as_measured() -> None:
    assert suggest([(1, 0.3), (2, 0.2)], 0.5, item_bytes=1).max_size == 2


def test_times_between_measured_sizes_lie_on_a_straight_line() -> None:
    assert seconds_of(LINE, 4) == 0.014
    assert seconds_of(LINE, 18) == pytest.approx(0.028)
