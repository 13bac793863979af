"""t(n) between measured sizes."""

from __future__ import annotations

import pytest

from loadtest.simulator.minion import interpolated


def test_between_two_sizes_and_beyond_the_last_it_is_a_straight_line() -> None:
    assert interpolated([(1, 0.01), (3, 0.02), (4, 0.05)], 6) == pytest.approx(
        (0.0, 0.01, 0.015, 0.02, 0.05, 0.08, 0.11)
    )


def test_one_size_alone_says_that_all_take_as_long() -> None:
    assert interpolated([(8, 0.02)], 3) == (0.0, 0.02, 0.02, 0.02)


def test_a_line_that_falls_never_goes_below_zero() -> None:
    assert min(interpolated([(1, 0.02), (2, 0.01)], 8)) == 0.0
