"""Orientation: the one entry that is read, and everything that must not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessor.orientation import read_orientation
from tests.preprocessor import image_files as f


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_both_byte_orders_are_read(value: int, order: str) -> None:
    assert read_orientation(b"Exif\x00\x00" + f.orientation_exif(value, order)) == value
    assert read_orientation(f.orientation_exif(value, order)) == value


def test_a_long_value_counts_like_a_short_one() -> None:
    assert read_orientation(f.orientation_exif(6, kind=4)) == 6


def test_the_entry_is_found_behind_others() -> None:
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0110, 2, 4, b"abc\0"), (0x0112, 3, 1, b"\x03\0\0\0")]
    assert read_orientation(f.tiff_directory(entries)) == 3


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_values_that_do_not_exist_mean_upright(value: int) -> None:
    assert read_orientation(f.orientation_exif(value)) == 1


@given(st.one_of(st.none(), st.text(), st.binary(), st.binary().map(lambda tail: b"II*\x00" + tail)))
def test_anything_at_all_gives_one_to_eight(exif: object) -> None:
    assert 1 <= read_orientation(exif) <= 8
