"""Transforms: where pixels come from, how far a decode may scale down, and what a spec's picture looks like."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from preprocessor import transforms
from preprocessor.spec import FILTERS, Spec
from preprocessor.transforms import Picture, draft_scale, plan, render, render_all
from tests.preprocessor import image_files as f


def picture(pixels: np.ndarray, orientation: int = 1) -> Picture:
    return Picture(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0], 1, orientation, None)


def array(spec: Spec, source: Picture) -> np.ndarray:
    return np.asarray(render(source, spec)).astype(int)


def test_cover_takes_the_largest_centred_part() -> None:
    assert plan(Spec(100, 100), 400, 200, 1).box == (100, 0, 300, 200)
    assert plan(Spec(100, 50), 400, 400, 1).box == (0, 100, 400, 300)


def test_cover_of_a_turned_picture_is_planned_in_stored_terms() -> None:
    turned = plan(Spec(50, 100), 400, 200, 6)
    assert turned.size == (100, 50)
    assert turned.box == (0, 0, 400, 200)


def test_contain_keeps_the_whole_picture_and_its_proportions() -> None:
    assert plan(Spec(100, 100, "contain"), 400, 200, 1) == transforms.Plan((0, 0, 400, 200), (100, 50))
    assert plan(Spec(100, 100, "contain"), 65500, 1, 1).size == (100, 1)


def test_stretch_ignores_the_proportions() -> None:
    assert plan(Spec(100, 100, "stretch"), 400, 200, 1) == transforms.Plan((0, 0, 400, 200), (100, 100))


@pytest.mark.parametrize(
    ("size", "specs", "scale"),
    [
        ((4032, 3024), [Spec(224, 224)], 8),
        ((1600, 1200), [Spec(224, 224)], 4),
        ((640, 480), [Spec(224, 224)], 2),
        ((640, 480), [Spec(224, 224, filter="bicubic")], 1),
        ((448, 448), [Spec(224, 224)], 1),
        ((440, 440), [Spec(224, 224)], 1),
        ((100, 100), [Spec(224, 224)], 1),
        ((1600, 1200), [Spec(224, 224), Spec(384, 384)], 2),
        ((1600, 1200), [Spec(224, 224, filter="nearest")], 1),
        ((1600, 1200), [Spec(224, 224, "contain")], 4),
        ((1600, 1200), [Spec(700, 100, "stretch")], 2),
    ],
)
def test_the_decode_leaves_the_largest_spec_somewhat_more_than_it_wants(
    size: tuple[int, int], specs: list[Spec], scale: int
) -> None:
    assert draft_scale(specs, *size, 1) == scale


def test_a_turned_picture_s_scale_follows_its_turned_sides() -> None:
    assert draft_scale([Spec(180, 700, "stretch")], 1600, 400, 6) == 2
    assert draft_scale([Spec(180, 700, "stretch")], 1600, 400, 1) == 1


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_the_small_picture_equals_turning_the_large_one(orientation: int, fit: str) -> None:
    upright = f.noisy(90, 60)
    spec = Spec(30, 24, fit, "bicubic")  # type: ignore[arg-type]
    turned = array(spec, picture(f.stored_for(orientation, upright), orientation))
    # the two passes of a resize round in another order when rows and columns change places
    assert np.abs(turned - array(spec, picture(upright))).max() <= 2


def test_contain_pads_with_white_on_both_sides() -> None:
    pixels = array(Spec(60, 60, "contain"), picture(np.zeros((30, 60, 3), np.uint8)))
    assert (pixels[:15] == 255).all() and (pixels[45:] == 255).all() and (pixels[15:45] == 0).all()


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_keeps_a_flat_picture_flat(name: str) -> None:
    flat = np.full((300, 400, 3), (10, 130, 250), np.uint8)
    pixels = array(Spec(31, 17, "cover", name), picture(flat))  # type: ignore[arg-type]
    assert pixels.shape == (17, 31, 3) and (pixels == (10, 130, 250)).all()


def test_a_small_picture_is_enlarged() -> None:
    assert array(Spec(64, 64), picture(np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]] * 64] * 64


def test_a_gray_picture_becomes_three_equal_channels() -> None:
    source = Picture(Image.fromarray(f.noisy(60, 60)).convert("L"), 60, 60, 1, 1, None)
    pixels = array(Spec(20, 20), source)
    assert (pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 0] == pixels[:, :, 2]).all()


def test_equal_specs_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Spec] = []
    real = transforms.render
    monkeypatch.setattr(transforms, "render", lambda source, spec: (made.append(spec), real(source, spec))[1])
    render_all(picture(f.noisy(60, 60)), [Spec(20, 20), Spec(10, 10), Spec(20, 20)])
    assert made == [Spec(20, 20), Spec(10, 10)]
