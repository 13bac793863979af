"""The busy share, in virtual time."""

from __future__ import annotations

import pytest

from preprocessor.busy_share import BusyShare


def test_one_of_two_busy_is_half() -> None:
    share = BusyShare(2, now=0.0)
    share.change(1, 0.0)
    assert share.ratio(4.0) == pytest.approx(0.5)


def test_what_lies_before_the_window_is_forgotten() -> None:
    share = BusyShare(1, now=0.0)
    share.change(1, 0.0)
    share.change(0, 5.0)
    for second in range(6, 17):
        share.ratio(float(second))
    assert share.ratio(17.0) == pytest.approx(0.0)


def test_nothing_has_passed_yet() -> None:
    assert BusyShare(1, now=3.0).ratio(3.0) == 0.0
