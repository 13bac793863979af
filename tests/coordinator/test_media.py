"""The way in is told by a body's first bytes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import msgpack
import pytest

from coordinator.media import check_image, is_image, switch_on, way_in
from crema.errors import CremaError
from crema.host.image_limits import MAX_IMAGE_BYTES

WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("head", "way"),
    [
        (b"\xff\xd8\xff\xe0rest", "image"),
        (b"\xff\xd8\xff", "image"),
        (PNG, "image"),
        (b"GIF87a", "image"),
        (b"GIF89a and more", "image"),
        (WEBP, "image"),
        (b"--boundary\r\n", "form"),
        (b"--", "form"),
        (b"{", "json"),
        (b'  \r\n\t{"image"', "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"\xef\xbb\xbf \n{}", "json"),
        (msgpack.packb({"image": {"bytes": b"x"}}), "msgpack"),
        (msgpack.packb({1: 2}), "msgpack"),
        (b"\x81", "msgpack"),
        (b"\x81\xc1", "msgpack"),
        (b"\x80", "msgpack"),
        (b"\xde\x00\x01", "msgpack"),
        (b"\xdf\xff\xff\xff\xff", "msgpack"),
    ],
)
def test_these_first_bytes_take_this_way(head: bytes, way: str) -> None:
    assert way_in(head) == way


@pytest.mark.parametrize(
    "head",
    [
        b"\x00",
        b"hello",
        b"[1, 2]",
        b'"text"',
        b"   ",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf" + PNG,
        b"\xff\xd8",
        b"\x89PNG\n\x1a\n",
        b"\x88PNG\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n",
        b"\x8aMNG\r\n\x1a\n",
        b"GIF88a",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"RIFF\x10\x00\x00\x00WEB",
        b"BM\x00\x00",
        b"II*\x00",
        b"%PDF-1.7",
        b"<svg xmlns=",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"https://example.com/cat.jpg",
        b"-",
        b"\x93\x01\x02\x03",
        b"\xc1",
        pickle.dumps({"a": 1}),
        pickle.dumps([1, 2, 3], protocol=4),
    ],
)
def test_everything_else_is_unsupported(head: bytes) -> None:
    with pytest.raises(CremaError) as caught:
        way_in(head)
    assert caught.value.code == "unsupported_media_type"
    assert "JPEG" in caught.value.message


def test_an_empty_body_is_an_invalid_request() -> None:
    with pytest.raises(CremaError) as caught:
        way_in(b"")
    assert caught.value.code == "invalid_request"
    assert caught.value.extra["errors"][0]["pointer"] == ""


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "heif-convert"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00", "HEIC"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00", "AVIF"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00", "video"),
        (b"BM\x00\x00", "BMP"),
        (b"MM\x00*", "TIFF"),
    ],
)
def test_a_known_foreign_format_is_named_with_what_to_do(head: bytes, says: str) -> None:
    with pytest.raises(CremaError, match=says):
        way_in(head)


def test_an_image_inside_an_envelope_is_judged_like_a_bare_one() -> None:
    assert check_image(PNG) is None
    assert is_image(memoryview(WEBP))
    refused = check_image(b"BM\x00\x00")
    assert refused is not None
    assert refused.code == "unsupported_media_type"


def test_an_image_may_have_20_mib_and_not_one_byte_more() -> None:
    image = bytearray(MAX_IMAGE_BYTES + 1)
    image[:3] = b"\xff\xd8\xff"
    assert check_image(memoryview(image)[:-1]) is None
    refused = check_image(memoryview(image))
    assert refused is not None
    assert (refused.code, refused.status, refused.extra["limit"]) == ("image_too_large", 413, MAX_IMAGE_BYTES)


HEIC = b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00heicmif1"
AVIF = b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00avifmif1"


@pytest.fixture
def heic_and_tiff() -> Iterator[None]:
    switch_on(["heic", "tiff"])
    yield
    switch_on([])


@pytest.mark.usefixtures("heic_and_tiff")
def test_formats_that_are_switched_on_are_images_and_the_others_stay_out() -> None:
    assert way_in(HEIC) == "image" and check_image(b"MM\0*" + bytes(20)) is None
    assert not is_image(AVIF) and not is_image(b"BM" + bytes(12) + b"\x28\0\0\0")
    with pytest.raises(
        CremaError, match=r"formats: \[avif\].*accepted are JPEG, PNG, WebP, GIF, HEIC and TIFF"
    ):
        way_in(AVIF)


def test_heic_is_refused_with_the_way_to_switch_it_on() -> None:
    with pytest.raises(CremaError, match=r"preprocessor: \{formats: \[heic\]\}"):
        way_in(HEIC)
