"""The decode function: every case of the tables, and what its answers promise."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crema.errors import CremaError
from crema.names import Filter, Fit
from preprocessor.colour import Profiles
from preprocessor.decode import Decoded, ImageInfo, decode
from preprocessor.spec import FILTERS, Spec
from preprocessor.transforms import plan
from tests.preprocessor import image_files as f
from tests.preprocessor.crafted_cases import CRAFTED
from tests.preprocessor.foreign_cases import FOREIGN
from tests.preprocessor.image_cases import GIF, JPEG, OTHER, WEBP, Bad, Case, Good, swapped_primaries
from tests.preprocessor.png_cases import PNG

PROBE = Spec(32, 32, "stretch", "box")
SAMPLES = Path(__file__).resolve().parents[2] / "samples"
PROFILES = Profiles()
SEEDS = [
    f.jpeg(),
    f.jpeg(progressive=True),
    f.png(),
    f.saved(f.quadrants(), "GIF"),
    f.saved(f.quadrants(), "WEBP"),
]
SMOOTH: tuple[Filter, ...] = ("bilinear", "hamming", "bicubic", "lanczos")
CASES = [*JPEG, *WEBP, *GIF, *PNG, *OTHER, *FOREIGN, *CRAFTED]


@pytest.fixture
def profiles() -> Profiles:
    return PROFILES


def _corners(decoded: Decoded) -> list[np.ndarray]:
    pixels = decoded.tensors[0].as_array().astype(int)
    return [
        pixels[y : y + 8, x : x + 8].reshape(-1, 3).mean(0) for y, x in ((4, 4), (4, 20), (20, 4), (20, 20))
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_case_ends_as_the_table_says(case: Case, profiles: Profiles) -> None:
    data = case.make()
    try:
        decoded = decode(data, [PROBE], profiles)
    except CremaError as error:
        assert not isinstance(case.expected, Good), f"refused: {error.code}: {error.message}"
        assert 400 <= error.status < 500
        if isinstance(case.expected, Bad):
            assert error.code in case.expected.codes, error.message
        return
    assert not isinstance(case.expected, Bad), "was decoded, should be refused"
    if isinstance(case.expected, Good):
        assert (decoded.image.width, decoded.image.height) == case.expected.size
        if case.expected.format:
            assert decoded.image.format == case.expected.format
        if case.expected.colours:
            for corner, colour in zip(_corners(decoded), case.expected.colours, strict=True):
                assert np.abs(corner - np.array(colour)).max() <= case.expected.tolerance, (corner, colour)


def _psnr(left: np.ndarray, right: np.ndarray) -> float:
    error = ((left.astype(float) - right.astype(float)) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _full(data: bytes, spec: Spec) -> np.ndarray:
    """The same crop and filter after a decode at full size."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    part = plan(spec, *picture.size, 1)
    resized = picture.resize(part.size, Image.Resampling[spec.filter.upper()], part.box)
    return np.asarray(resized)


@pytest.mark.parametrize("size", [(640, 480), (960, 720)])
def test_a_scaled_decode_is_within_40_db_of_the_full_one(size: tuple[int, int], profiles: Profiles) -> None:
    data = f.saved(f.noisy(*size), "JPEG", quality=88)
    for name in SMOOTH:  # one by one: together the strictest filter decides how far the decode is scaled
        spec = Spec(224, 224, "cover", name)
        assert _psnr(decode(data, [spec], profiles).tensors[0].as_array(), _full(data, spec)) >= 40, spec


@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("side", [224, 170, 130])
def test_a_scaled_decode_of_a_photograph_is_within_40_db(photo: str, side: int, profiles: Profiles) -> None:
    data = (SAMPLES / f"{photo}.jpg").read_bytes()
    for name in FILTERS:
        spec = Spec(side, side, "cover", name)
        assert _psnr(decode(data, [spec], profiles).tensors[0].as_array(), _full(data, spec)) >= 40, spec


def _luma(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
def test_gray_is_the_luma_of_the_same_picture_in_colour(fit: Fit, profiles: Profiles) -> None:
    pixels = f.noisy(320, 240)
    for data in (f.jpeg(pixels), f.jpeg(pixels, progressive=True), f.png(pixels, compress_level=1)):
        in_colour = decode(data, [Spec(96, 80, fit)], profiles).tensors[0].as_array()
        gray = decode(data, [Spec(96, 80, fit, colour="gray")], profiles).tensors[0].as_array()
        assert gray.shape == (80, 96, 1)
        assert (
            _psnr(gray, _luma(in_colour)) >= 45
        )  # a JPEG's own luma is not rounded on the way through colours


def test_gray_beside_colour_is_one_decode_of_both(profiles: Profiles) -> None:
    specs = [Spec(96, 80), Spec(96, 80, colour="gray")]
    both = decode(f.jpeg(f.noisy(320, 240)), specs, profiles).tensors
    assert [tensor.as_array().shape for tensor in both] == [(80, 96, 3), (80, 96, 1)]
    assert np.abs(_luma(both[0].as_array()).astype(int) - both[1].as_array()).max() <= 1


def test_gray_follows_a_profile_like_colour_does(profiles: Profiles) -> None:
    data = f.jpeg(icc_profile=swapped_primaries())
    in_colour = decode(data, [PROBE], profiles).tensors[0].as_array()
    gray = decode(data, [Spec(32, 32, "stretch", "box", "gray")], profiles).tensors[0].as_array()
    assert np.abs(_luma(in_colour).astype(int) - gray).max() <= 2


def test_a_turned_picture_in_gray_is_upright(profiles: Profiles) -> None:
    spec = Spec(48, 32, "stretch", "box", "gray")
    upright = decode(f.jpeg(f.noisy(96, 64)), [spec], profiles).tensors[0].as_array().astype(int)
    for orientation in range(1, 9):
        data = f.with_segments(
            f.jpeg(f.stored_for(orientation, f.noisy(96, 64))),
            f.exif_segment(f.orientation_exif(orientation)),
        )
        assert _psnr(decode(data, [spec], profiles).tensors[0].as_array(), upright) >= 40, orientation


def test_formats_without_scaled_decode_are_within_50_db(profiles: Profiles) -> None:
    data = f.png(f.noisy(640, 480), compress_level=1)
    for tensor in decode(data, [Spec(96, 96, "cover", name) for name in SMOOTH], profiles).tensors:
        assert _psnr(tensor.as_array(), _full(data, tensor.spec)) >= 50, tensor.spec


def test_plain_filters_of_a_png_are_exact(profiles: Profiles) -> None:
    data = f.png(f.noisy(640, 480), compress_level=1)
    for tensor in decode(
        data, [Spec(150, 150, "cover", "nearest"), Spec(150, 150, "cover", "box")], profiles
    ).tensors:
        assert (tensor.as_array() == _full(data, tensor.spec)).all()


def test_all_paths_give_nearly_the_same_pixels(profiles: Profiles) -> None:
    pixels = f.noisy(640, 480)
    spec = Spec(80, 80)
    from_png = decode(f.png(pixels, compress_level=1), [spec], profiles).tensors[0].as_array()
    for other in (
        f.saved(pixels, "WEBP", lossless=True, method=0),
        f.saved(pixels, "JPEG", quality=97, subsampling=0),
        f.saved(pixels, "JPEG", quality=97, subsampling=0, progressive=True),
        f.with_segments(
            f.saved(f.stored_for(6, pixels), "JPEG", quality=97, subsampling=0),
            f.exif_segment(f.orientation_exif(6)),
        ),
    ):
        assert _psnr(decode(other, [spec], profiles).tensors[0].as_array(), from_png) >= 45


def test_one_decode_serves_every_spec_in_the_order_asked(profiles: Profiles) -> None:
    specs = [Spec(64, 48), Spec(20, 30, "contain"), Spec(64, 48)]
    decoded = decode(f.jpeg(f.noisy(640, 480)), specs, profiles)
    assert [tensor.spec for tensor in decoded.tensors] == specs
    assert [tensor.as_array().shape for tensor in decoded.tensors] == [(48, 64, 3), (30, 20, 3), (48, 64, 3)]
    assert decoded.tensors[0].data is decoded.tensors[2].data


def test_dimensions_are_those_after_orientation_and_before_scaling(profiles: Profiles) -> None:
    data = f.with_segments(f.jpeg(f.noisy(640, 480)), f.exif_segment(f.orientation_exif(6)))
    decoded = decode(data, [Spec(32, 32)], profiles)
    assert decoded.image == ImageInfo("jpeg", 480, 640)


def test_no_metadata_is_echoed_in_errors(profiles: Profiles) -> None:
    secret = b"SECRETSECRET"
    for data in (
        f.with_segments(f.jpeg(), f.segment(0xFE, secret))[:-200],
        f.png_after_header(f.png(), f.chunk(b"tEXt", b"k\x00" + secret), f.chunk(b"SECR", secret, crc=1))[
            :-40
        ],
        secret * 10,
    ):
        with pytest.raises(CremaError) as caught:
            decode(data, [PROBE], profiles)
        assert "SECR" not in caught.value.message


def test_memory_that_runs_out_is_an_image_too_large(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("preprocessor.decode.render_all", no_memory)
    with pytest.raises(CremaError, match="96x64") as caught:
        decode(f.jpeg(), [PROBE], profiles)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, SyntaxError, OverflowError, struct.error, RecursionError, OSError]
)
def test_whatever_a_reader_raises_becomes_undecodable(
    kind: type[Exception], profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise kind("reader's own words")

    monkeypatch.setattr("preprocessor.decode.render_all", fail)
    with pytest.raises(CremaError) as caught:
        decode(f.jpeg(), [PROBE], profiles)
    assert caught.value.code == "undecodable_image" and "own words" not in caught.value.message


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_images_end_with_a_code_of_the_caller_s_kind(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SEEDS))
    image = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 12))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    image = image[: data.draw(st.integers(1, len(image)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            decode(bytes(image), [PROBE], PROFILES)
        except CremaError as error:
            assert 400 <= error.status < 500
