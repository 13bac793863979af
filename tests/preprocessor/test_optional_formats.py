"""AVIF, BMP, HEIC and TIFF where they are switched on: sound ones upright and in colour, hostile ones refused in time."""

from __future__ import annotations

import numpy as np
import pytest

from crema.errors import CremaError
from crema.names import OPTIONAL_FORMATS
from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.header import read_header
from preprocessor.spec import Spec
from tests.preprocessor.image_cases import Bad, Case, Good
from tests.preprocessor.optional_cases import AVIF, BMP, HEIC, TIFF

PROBE = Spec(32, 32, "stretch", "box")
PROFILES = Profiles()
CASES = [*TIFF, *BMP, *AVIF, *HEIC]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_case_ends_as_the_table_says(case: Case) -> None:
    try:
        decoded = decode(case.make(), [PROBE], PROFILES, OPTIONAL_FORMATS)
    except CremaError as error:
        assert not isinstance(case.expected, Good), f"refused: {error.code}: {error.message}"
        assert 400 <= error.status < 500
        if isinstance(case.expected, Bad):
            assert error.code in case.expected.codes, error.message
        return
    assert not isinstance(case.expected, Bad), "was decoded, should be refused"
    if isinstance(case.expected, Good):
        assert (decoded.image.width, decoded.image.height) == case.expected.size
        assert case.expected.format in (None, decoded.image.format)
        pixels = decoded.tensors[0].as_array().astype(int)
        for (y, x), colour in zip(
            ((4, 4), (4, 20), (20, 4), (20, 20)), case.expected.colours or (), strict=False
        ):
            corner = pixels[y : y + 8, x : x + 8].reshape(-1, 3).mean(0)
            assert np.abs(corner - np.array(colour)).max() <= case.expected.tolerance, (corner, colour)


@pytest.mark.parametrize("case", [TIFF[0], BMP[0], AVIF[0], HEIC[0]], ids=lambda case: case.name)
def test_what_is_switched_off_is_refused_and_says_how_to_switch_it_on(case: Case) -> None:
    with pytest.raises(CremaError, match=r"preprocessor: \{formats: \[(avif|bmp|heic|tiff)\]\}") as caught:
        read_header(case.make())
    assert caught.value.status == 415


def test_one_format_switched_on_lets_no_other_in() -> None:
    assert read_header(BMP[0].make(), ("bmp",)).format == "bmp"
    with pytest.raises(CremaError, match="accepted are JPEG, PNG, WebP, GIF and BMP"):
        read_header(TIFF[0].make(), ("bmp",))
