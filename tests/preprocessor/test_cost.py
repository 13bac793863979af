"""Cost: what a decode is charged, and how the price is learnt."""

from __future__ import annotations

from preprocessor.cost import LEAST_WORK, DecodeCost, work_of
from preprocessor.header import ImageHeader


def test_a_progressive_jpeg_is_charged_four_times() -> None:
    plain = work_of(ImageHeader("jpeg", 4000, 3000)) - LEAST_WORK
    assert work_of(ImageHeader("jpeg", 4000, 3000, many_scans=True)) - LEAST_WORK == 4 * plain


def test_the_smallest_image_is_charged_something() -> None:
    assert work_of(ImageHeader("png", 1, 1)) > 0.2


def test_an_image_is_heavy_beside_what_most_images_are() -> None:
    cost = DecodeCost()
    for work in [1.0] * 60 + [500.0] * 40:
        cost.came(work)
    assert 1.0 < cost.light_work < 200.0
    for _ in range(300):
        cost.came(500.0)
    assert cost.light_work > 500.0


def test_what_takes_a_moment_only_is_never_heavy() -> None:
    cost = DecodeCost()
    cost.came(0.25)
    assert cost.predict_ms(cost.light_work) >= 50


def test_the_price_follows_what_decodes_took() -> None:
    cost = DecodeCost()
    for _ in range(100):
        cost.observe(2.0, 30.0)
    assert 14 < cost.predict_ms(1.0) < 16
