"""What an image claims to be, read from its first bytes: format, dimensions, and the limits they must keep.

Pure Python over bounded steps, so it runs in the event loop, before a place in the pool and before any native code
has seen the bytes. It refuses formats off the allow-list and claims over the limits; it does not promise that the
rest of the image is sound.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from crema.errors import CremaError
from crema.host.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS
from crema.host.image_signatures import NAMES, accepted, optional_format, switched_off
from crema.names import OptionalFormat
from preprocessor.optional_headers import read_bmp, read_heif, read_tiff

Format = Literal["jpeg", "png", "webp", "gif", OptionalFormat]

# A phone's photo has under 400 segments before its pixels, even one with 20 MiB of maker notes.
MAX_JPEG_SEGMENTS: Final = 4096
# Fill bytes and what broken editors leave between segments: more than this is not passed over.
MAX_JPEG_JUNK_BYTES: Final = 64 * 1024

_FOUR: Final[dict[Format, str]] = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF"}
FORMAT_NAMES: Final[Mapping[Format, str]] = {**_FOUR, **dict(NAMES.items())}

_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
# colour type → allowed bit depths
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

_SOF_HUFFMAN: Final = frozenset({0xC0, 0xC1, 0xC2})
_SOF_ARITHMETIC: Final = frozenset({0xC9, 0xCA})
_SOF_OTHER: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE: Final = frozenset({0xC2, 0xCA})
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")

# what a refused file is called, by its first bytes, so that the message can say what to do
_KNOWN_MAGIC: Final = (
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"BM", "this kind of BMP"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"<", "SVG, XML or HTML"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
)
_OPTIONAL_READERS: Final = {"avif": read_heif, "heic": read_heif, "tiff": read_tiff, "bmp": read_bmp}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A claim, not yet a picture. `width` and `height` are as stored, before orientation.

    `bit_depth` is that of one PNG sample (8 for the other formats). `many_scans`: a JPEG that is sent in several
    passes over the picture, so that its cost has to be bounded by their number.
    """

    format: Format
    width: int
    height: int
    bit_depth: int = 8
    many_scans: bool = False


def read_header(
    data: bytes | bytearray | memoryview, formats: Collection[OptionalFormat] = ()
) -> ImageHeader:
    """The header of a whole image. `formats` are those switched on beside JPEG, PNG, WebP and GIF.

    Raises CremaError: `invalid_request` (empty), `image_too_large` (bytes or pixels), `unsupported_media_type`,
    `undecodable_image` (the right magic, then nonsense).
    """
    size = len(data)
    if size == 0:
        raise CremaError("invalid_request", "the image is empty; send the bytes of an image file")
    check_bytes(size)
    head = bytes(data[:64])
    if head.startswith(b"\xff\xd8\xff"):
        header = _read_jpeg(data)
    elif head.startswith(_PNG_MAGIC):
        header = _read_png(head)
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        header = _read_webp(head)
    elif head.startswith((b"GIF87a", b"GIF89a")):
        header = _read_gif(head)
    else:
        header = _read_optional(data, head, formats)
    check_pixels(header.width, header.height)
    return header


def check_bytes(size: int) -> None:
    """Raises CremaError `image_too_large` for an image of more than 20 MiB."""
    if size > MAX_IMAGE_BYTES:
        message = f"the image has {size} bytes; the limit is {MAX_IMAGE_BYTES} (20 MiB): send it smaller or more compressed"
        raise CremaError("image_too_large", message, limit={"bytes": MAX_IMAGE_BYTES})


def check_pixels(width: int, height: int) -> None:
    """Raises CremaError: `undecodable_image` for a side of 0, `image_too_large` for more than 50 megapixels."""
    if width <= 0 or height <= 0:
        raise CremaError(
            "undecodable_image", f"the image claims to be {width}x{height}; both sides must be at least 1"
        )
    if width * height > MAX_PIXELS:
        message = (
            f"the image claims to be {width}x{height}; the limit is {MAX_PIXELS} pixels: scale it down first"
        )
        raise CremaError("image_too_large", message, limit={"pixels": MAX_PIXELS})


def broken(what: str) -> CremaError:
    """The error for an image of an accepted format that is not sound. `what` never quotes the image's own bytes."""
    return CremaError("undecodable_image", f"{what}; open the file in a viewer and save it again")


def _read_jpeg(data: bytes | bytearray | memoryview) -> ImageHeader:
    size = len(data)
    position = 2
    frame: tuple[int, int, int, int] | None = None  # marker, width, height, components
    junk_left = MAX_JPEG_JUNK_BYTES
    for _ in range(MAX_JPEG_SEGMENTS):
        if position + 1 >= size or data[position] != 0xFF or data[position + 1] in (0x00, 0xFF):
            junk = _skip_junk(data, position, junk_left)
            position += junk
            junk_left -= junk
        marker = data[position + 1]
        position += 2
        if marker in _STANDALONE:
            continue
        if position + 2 > size:
            break
        length = (data[position] << 8) | data[position + 1]
        if length < 2 or position + length > size:
            raise broken("a JPEG segment is longer than the file")
        if marker in _SOF_OTHER:
            raise broken("the JPEG is lossless or hierarchical, which is not read here")
        if marker in _SOF_HUFFMAN or marker in _SOF_ARITHMETIC:
            if frame is not None or length < 8:
                raise broken("the JPEG has a broken frame header")
            body = position + 2
            height = (data[body + 1] << 8) | data[body + 2]
            width = (data[body + 3] << 8) | data[body + 4]
            frame = (marker, width, height, data[body + 5])
        elif marker == 0xDA:
            if frame is None or length < 3:
                raise broken("the JPEG has no frame header")
            scan_components = data[position + 2]
            many = frame[0] in _PROGRESSIVE or scan_components < frame[3]
            return ImageHeader("jpeg", frame[1], frame[2], many_scans=many)
        elif marker == 0xD9:
            break
        position += length
    else:
        raise broken(f"the JPEG has more than {MAX_JPEG_SEGMENTS} segments before its picture")
    raise broken("the JPEG has no picture in it")


def _skip_junk(data: bytes | bytearray | memoryview, position: int, allowed: int) -> int:
    """How many bytes lie before the next marker. Fill bytes and junk between segments are passed over, as decoders do.

    Looks at no more than `allowed` bytes: this runs in the event loop.
    """
    found = _MARKER.search(bytes(data[position : position + allowed + 2]))
    if found is None:
        raise broken(
            "the JPEG ends before its picture, or there is much between its segments that does not belong there"
        )
    return found.start()


def _read_png(head: bytes) -> ImageHeader:
    if len(head) < 29 or head[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise broken("the PNG does not begin with a whole IHDR chunk")
    width = int.from_bytes(head[16:20], "big")
    height = int.from_bytes(head[20:24], "big")
    depth, colour = head[24], head[25]
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise broken("the PNG has a bit depth or colour type that does not exist")
    return ImageHeader("png", width, height, bit_depth=depth)


def _read_webp(head: bytes) -> ImageHeader:
    chunk = head[12:16]
    if chunk == b"VP8 " and len(head) >= 30 and head[23:26] == b"\x9d\x01\x2a":
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        height = int.from_bytes(head[28:30], "little") & 0x3FFF
        return ImageHeader("webp", width, height)
    if chunk == b"VP8L" and len(head) >= 25 and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return ImageHeader("webp", (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    if chunk == b"VP8X" and len(head) >= 30:
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
        return ImageHeader("webp", width, height)
    raise broken("the WebP has no picture in it")


def _read_gif(head: bytes) -> ImageHeader:
    if len(head) < 13:
        raise broken("the GIF ends before its picture")
    return ImageHeader("gif", int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))


def _read_optional(
    data: bytes | bytearray | memoryview, head: bytes, formats: Collection[OptionalFormat]
) -> ImageHeader:
    found = optional_format(head)
    if found is None or found not in formats:
        raise CremaError("unsupported_media_type", _advice(head, found, accepted(formats, "and")))
    try:
        return ImageHeader(found, *_OPTIONAL_READERS[found](data))
    except ValueError as error:
        raise broken(str(error)) from None


def _advice(head: bytes, found: OptionalFormat | None, taken: str) -> str:
    if found is not None:
        return f"{switched_off(found)}; accepted are {taken}"
    name = _name(head)
    if name is None:
        return f"this is not an image that is read here; accepted are {taken}. Send the bytes of the image file itself"
    if name in ("gzip", "ZIP"):
        return f"{name} is not read here; accepted are {taken}. Unpack it first and send the image itself"
    return f"{name} is not read here; accepted are {taken}. Convert it first, for instance with `magick INPUT photo.jpg`"


def _name(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return "MP4 or QuickTime"
    return next((name for magic, name in _KNOWN_MAGIC if head.startswith(magic)), None)
