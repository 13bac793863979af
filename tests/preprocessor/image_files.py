"""Builders of image files, sound and crafted, byte by byte where an encoder would refuse. All deterministic."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (30, 40, 210), (230, 220, 40)
QUADRANTS = (RED, GREEN, BLUE, YELLOW)
WIDTH, HEIGHT = 96, 64


def quadrants(
    width: int = WIDTH, height: int = HEIGHT, colours: tuple[tuple[int, ...], ...] = QUADRANTS
) -> NDArray[np.uint8]:
    """[height, width, 3 or 4]: top left, top right, bottom left, bottom right in four colours."""
    pixels = np.zeros((height, width, len(colours[0])), np.uint8)
    middle_y, middle_x = height // 2, width // 2
    pixels[:middle_y, :middle_x], pixels[:middle_y, middle_x:] = colours[0], colours[1]
    pixels[middle_y:, :middle_x], pixels[middle_y:, middle_x:] = colours[2], colours[3]
    return pixels


def stored_for(orientation: int, upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The stored rows of a picture that `orientation` turns upright, by EXIF's words on row 0 and column 0."""
    rows = {
        1: lambda u: u,
        2: lambda u: u[:, ::-1],
        3: lambda u: u[::-1, ::-1],
        4: lambda u: u[::-1],
        5: lambda u: u.transpose(1, 0, 2),
        6: lambda u: u[:, ::-1].transpose(1, 0, 2),
        7: lambda u: u[::-1, ::-1].transpose(1, 0, 2),
        8: lambda u: u[::-1].transpose(1, 0, 2),
    }
    return np.ascontiguousarray(rows[orientation](upright))


def saved(pixels: NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of `kind` (JPEG, PNG, WEBP, GIF …)."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def jpeg(pixels: NDArray[np.uint8] | Image.Image | None = None, **options: Any) -> bytes:
    return saved(
        quadrants() if pixels is None else pixels, "JPEG", **{"quality": 92, "subsampling": 0, **options}
    )


def png(pixels: NDArray[np.uint8] | Image.Image | None = None, **options: Any) -> bytes:
    return saved(quadrants() if pixels is None else pixels, "PNG", **options)


@functools.cache
def noisy(width: int, height: int, seed: int = 7) -> NDArray[np.uint8]:
    """A picture with detail at all scales (1/f), much like a photograph. uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    step = 1
    while step < max(width, height):
        grain = random.normal(size=(-(-height // step) + 1, -(-width // step) + 1, 3)) * step
        small = Image.fromarray((grain / (4 * step) * 255 + 128).clip(0, 255).astype(np.uint8))
        layer = np.asarray(small.resize((small.width * step, small.height * step), Image.Resampling.BICUBIC))
        total += (layer[:height, :width].astype(float) - 128) * step**0.9
        step *= 2
    total -= total.mean()
    pixels: NDArray[np.uint8] = (total / total.std() * 45 + 128).clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


# -- EXIF --------------------------------------------------------------------------------------------------------------


def tiff_directory(entries: list[tuple[int, int, int, bytes]], order: str = "<", following: int = 0) -> bytes:
    """A TIFF header and one directory of (tag, type, count, four value bytes)."""
    magic = b"II*\x00" if order == "<" else b"MM\x00*"
    body = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in entries
    )
    return magic + struct.pack(order + "IH", 8, len(entries)) + body + struct.pack(order + "I", following)


def orientation_exif(value: int, order: str = "<", kind: int = 3) -> bytes:
    packed = struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
    return tiff_directory([(0x0112, kind, 1, packed)], order)


# -- JPEG --------------------------------------------------------------------------------------------------------------


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(image: bytes, *segments: bytes) -> bytes:
    """`image` with segments put in right after its first marker."""
    return image[:2] + b"".join(segments) + image[2:]


def exif_segment(tiff: bytes) -> bytes:
    return segment(0xE1, b"Exif\x00\x00" + tiff)


def frame_offset(image: bytes) -> int:
    """Where the frame header's marker is (SOF0, SOF1 or SOF2)."""
    position = 2
    while image[position + 1] not in (0xC0, 0xC1, 0xC2):
        position += 2 + struct.unpack_from(">H", image, position + 2)[0]
    return position


def scan_offset(image: bytes) -> int:
    """Where the first SOS marker is."""
    position = 2
    while image[position + 1] != 0xDA:
        position += 2 + struct.unpack_from(">H", image, position + 2)[0]
    return position


def with_frame(
    image: bytes, *, marker: int | None = None, precision: int = 8, size: tuple[int, int] | None = None
) -> bytes:
    """`image` with another frame marker, sample precision or claimed (width, height)."""
    at = frame_offset(image)
    out = bytearray(image)
    out[at + 1] = out[at + 1] if marker is None else marker
    out[at + 4] = precision
    if size is not None:
        struct.pack_into(">HH", out, at + 5, size[1], size[0])
    return bytes(out)


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A valid progressive gray JPEG of `scans` passes, about 60 bytes each, whatever its size."""
    blocks = -(-width // 8) * -(-height // 8)
    dc_table = bytes([0x00, 1, *[0] * 15, 0])  # one code of one bit: no change
    ac_table = bytes([0x10, 1, *[0] * 15, 0xE0])  # one code of one bit: 2^14 + 14 bits of empty blocks follow
    empty = bits_to_entropy_bytes([(0, 1), (0x3FFF, 14)] * -(-blocks // 32767))
    one = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0x00])) + empty
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, bytes([0, *[16] * 64])),
            segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])),
            segment(0xC4, dc_table + ac_table),
            segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0x00])) + b"\x00" * -(-blocks // 8),
            one * (scans - 1),
            b"\xff\xd9",
        )
    )


def bits_to_entropy_bytes(codes: list[tuple[int, int]]) -> bytes:
    text = "".join(f"{value:0{width}b}" for value, width in codes)
    text += "1" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\x00")


# -- PNG ---------------------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)
    )


def png_header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png_of(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def png_rows(rows: list[bytes]) -> bytes:
    """The IDAT chunk of unfiltered rows."""
    return chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row for row in rows)))


def png_after_header(image: bytes, *chunks: bytes) -> bytes:
    """`image` with chunks put in after IHDR."""
    return image[:33] + b"".join(chunks) + image[33:]


def png_before_end(image: bytes, *chunks: bytes) -> bytes:
    return image[:-12] + b"".join(chunks) + image[-12:]


def deflated_zeros(megabytes: int) -> bytes:
    """A valid zlib stream of that many zero bytes, without compressing them one by one."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = maker.compress(bytes(1 << 20)) + maker.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(megabytes):
        checksum = zlib.adler32(bytes(1 << 20), checksum)
    return b"\x78\xda" + piece * megabytes + b"\x03\x00" + struct.pack(">I", checksum)


# -- GIF ---------------------------------------------------------------------------------------------------------------


def gif_of(
    screen: tuple[int, int], *blocks: bytes, palette: bytes = bytes(RED + GREEN + BLUE + YELLOW)
) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80 | 1, 0, 0) + palette + b"".join(blocks) + b";"


def gif_frame(left: int, top: int, indices: NDArray[np.uint8]) -> bytes:
    """One frame of palette indices 0 to 3, in LZW codes that never grow (a reset before each pair)."""
    height, width = indices.shape
    codes = []
    for index, value in enumerate(indices.reshape(-1)):
        if index % 2 == 0:
            codes.append(4)
        codes.append(int(value))
    codes.append(5)
    text = "".join(f"{code:03b}"[::-1] for code in codes)
    text += "0" * (-len(text) % 8)
    data = bytes(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))
    blocks = b"".join(
        bytes([len(part)]) + part for part in (data[i : i + 255] for i in range(0, len(data), 255))
    )
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02" + blocks + b"\x00"


def gif_control(transparent: int | None = None, disposal: int = 0) -> bytes:
    flags = disposal << 2 | (transparent is not None)
    return b"!\xf9\x04" + struct.pack("<BHB", flags, 0, transparent or 0) + b"\x00"


# -- WebP --------------------------------------------------------------------------------------------------------------


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flat_webp(width: int, height: int, colour: tuple[int, int, int] = RED) -> bytes:
    """A valid lossless WebP of one colour in 36 bytes, whatever its size."""
    fields = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    for symbol in (colour[1], colour[0], colour[2], 255):
        fields += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    fields += [(1, 1), (0, 1), (0, 1), (0, 1)]
    value = position = 0
    for part, width_bits in fields:
        value |= part << position
        position += width_bits
    return riff((b"VP8L", value.to_bytes(-(-position // 8), "little")))


def webp_canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
        3, "little"
    )
