"""Cost: what a decode is charged, and how the price is learnt."""

from __future__ import annotations

from preprocessor.cost import LEAST_WORK, DecodeCost, work_of
from preprocessor.header import ImageHeader


def test_a_progressive_jpeg_is_charged_four_times() -> None:
    plain = work_of(ImageHeader("jpeg", 4000, 3000)) - LEAST_WORK
    assert work_of(ImageHeader("jpeg", 4000, 3000, many_scans=True)) - LEAST_WORK == 4 * plain


def test_the_smallest_image_is_charged_something() -> None:
    assert work_of(ImageHeader("png", 1, 1)) > 0.2


def test_the_price_follows_what_decodes_took() -> None:
    cost = DecodeCost()
    for _ in range(100):
        cost.observe(2.0, 30.0)
    assert 14 < cost.predict_ms(1.0) < 16
