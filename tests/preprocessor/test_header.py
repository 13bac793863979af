"""Headers: what an image claims, and what is refused before any decoder sees it."""

from __future__ import annotations

import pytest

from crema.errors import CremaError
from crema.host.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS
from preprocessor.header import ImageHeader, check_bytes, read_header
from tests.preprocessor import image_files as f


def test_a_jpeg_header_gives_the_stored_size() -> None:
    assert read_header(f.jpeg(f.quadrants(97, 65))) == ImageHeader("jpeg", 97, 65)


def test_a_progressive_jpeg_is_known_by_its_many_scans() -> None:
    assert read_header(f.jpeg(progressive=True)).many_scans
    assert not read_header(f.jpeg()).many_scans


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_headers_of_every_kind_give_the_size(lossless: bool) -> None:
    assert read_header(f.saved(f.quadrants(97, 65), "WEBP", lossless=lossless)) == ImageHeader("webp", 97, 65)
    extended = f.saved(f.quadrants(97, 65), "WEBP", lossless=lossless, exif=f.orientation_exif(1))
    assert read_header(extended) == ImageHeader("webp", 97, 65)


def test_gif_and_png_headers_give_the_size() -> None:
    assert read_header(f.saved(f.quadrants(97, 65), "GIF")) == ImageHeader("gif", 97, 65)
    assert read_header(f.png(f.quadrants(97, 65))) == ImageHeader("png", 97, 65, bit_depth=8)


def test_a_header_is_read_from_every_kind_of_buffer() -> None:
    data = f.jpeg()
    assert read_header(data) == read_header(bytearray(data)) == read_header(memoryview(data))


def test_fifty_megapixels_are_allowed_and_one_more_row_is_not() -> None:
    assert read_header(f.with_frame(f.jpeg(), size=(10_000, 5_000))).width * 5_000 == MAX_PIXELS
    with pytest.raises(CremaError) as caught:
        read_header(f.with_frame(f.jpeg(), size=(10_000, 5_001)))
    assert (caught.value.code, caught.value.status) == ("image_too_large", 413)
    assert str(MAX_PIXELS) in caught.value.message


def test_twenty_mebibytes_are_allowed_and_one_byte_more_is_not() -> None:
    check_bytes(MAX_IMAGE_BYTES)
    with pytest.raises(CremaError, match="20 MiB"):
        check_bytes(MAX_IMAGE_BYTES + 1)


def test_the_answer_to_heic_says_how_to_convert_it() -> None:
    with pytest.raises(CremaError, match=r"magick photo.heic photo.jpg") as caught:
        read_header(b"\x00\x00\x00\x18ftypheic" + bytes(16))
    assert caught.value.status == 415


def test_junk_between_segments_is_passed_over() -> None:
    image = f.jpeg()
    assert read_header(image[:20] + bytes(60_000) + image[20:]) == read_header(image)


@pytest.mark.parametrize("junk", [b"\x00", b"\xff", b"\xff\x00"])
def test_junk_without_end_is_not_passed_over(junk: bytes) -> None:
    image = f.jpeg()
    with pytest.raises(CremaError, match="does not belong there"):
        read_header(image[:20] + junk * 5_000_000 + image[20:])


def test_a_flood_of_segments_is_refused_in_a_bounded_number_of_steps() -> None:
    with pytest.raises(CremaError, match="4096 segments"):
        read_header(f.with_segments(f.jpeg(), b"\xff\xea\x00\x02" * 1_000_000))
