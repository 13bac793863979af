"""Colour: profiles are followed where they are sound and forgotten where they are not."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from preprocessor import colour
from preprocessor.colour import Profiles, flatten
from preprocessor.decode import decode
from preprocessor.spec import Spec
from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import swapped_primaries


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_an_srgb_profile_costs_nothing_more_than_none() -> None:
    assert Profiles().to_srgb(_srgb(), "RGB") is None


def test_a_profile_of_other_colours_is_followed() -> None:
    transform = Profiles().to_srgb(swapped_primaries(), "RGB")
    assert transform is not None
    assert colour.apply(transform, Image.new("RGB", (1, 1), (255, 0, 0))).getpixel((0, 0)) == (0, 0, 255)


def test_a_transform_is_built_once_per_profile() -> None:
    profiles = Profiles()
    assert profiles.to_srgb(swapped_primaries(), "RGB") is profiles.to_srgb(swapped_primaries(), "RGB")


def test_profiles_that_do_not_fit_or_cannot_be_read_are_ignored() -> None:
    profiles = Profiles()
    for profile, mode in (
        (swapped_primaries(), "L"),
        (bytes(500), "RGB"),
        ("text", "RGB"),
        (None, "RGB"),
        (b"x", "CMYK"),
    ):
        assert profiles.to_srgb(profile, mode) is None


def test_the_number_of_kept_transforms_is_bounded() -> None:
    profiles = Profiles()
    for number in range(100):
        profiles.to_srgb(number.to_bytes(4, "big") * 50, "RGB")
    assert len(profiles._kept) <= 64


def test_colours_after_the_resize_are_within_40_db_of_colours_before_it() -> None:
    pixels = f.noisy(640, 480)
    transform = Profiles().to_srgb(swapped_primaries(), "RGB")
    assert transform is not None
    before = colour.apply(transform, Image.fromarray(pixels)).resize((160, 120), Image.Resampling.BILINEAR)
    after = np.asarray(
        decode(f.png(pixels, icc_profile=swapped_primaries(), compress_level=1), [Spec(160, 120)], Profiles())
        .tensors[0]
        .as_array()
    )
    error = ((np.asarray(before).astype(float) - after) ** 2).mean()
    assert 10 * np.log10(255**2 / error) >= 40


def test_colours_under_full_transparency_do_not_show() -> None:
    hidden = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
    assert flatten(hidden, 8).getcolors() == [(16, (255, 255, 255))]


def test_gray_stays_one_channel_until_it_is_resized() -> None:
    assert flatten(Image.new("L", (4, 4), 7), 8).mode == "L"
    assert flatten(Image.new("LA", (4, 4), (7, 0)), 8).getcolors() == [(16, 255)]


def test_a_transparent_colour_of_a_wrong_type_is_no_colour() -> None:
    picture = Image.new("RGB", (4, 4), (1, 2, 3))
    picture.info["transparency"] = "forged by a text chunk"
    assert flatten(picture, 8).getcolors() == [(16, (1, 2, 3))]
