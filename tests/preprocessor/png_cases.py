"""The PNG part of the table of odd and hostile images."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import (
    GRAYS,
    TOO_LARGE,
    UNSUPPORTED,
    WHITE,
    Bad,
    Case,
    Either,
    Good,
    flipped,
)

_TOP, _BOTTOM = range(32), range(32)


def _packed(depth: int, colour: int, samples: tuple[int, int, int, int], *chunks: bytes) -> bytes:
    """A PNG of four quadrants of one sample per pixel, `depth` bits each."""

    def row(left: int, right: int) -> bytes:
        text = f"{left:0{depth}b}" * 48 + f"{right:0{depth}b}" * 48
        return int(text, 2).to_bytes(len(text) // 8, "big")

    top, bottom = row(samples[0], samples[1]), row(samples[2], samples[3])
    rows = [top for _ in _TOP] + [bottom for _ in _BOTTOM]
    return f.png_of(f.png_header(96, 64, depth, colour), *chunks, f.png_rows(rows))


def _rows_of(pixels: np.ndarray, depth: int, colour: int, *chunks: bytes) -> bytes:
    big = pixels.astype(">u2" if depth == 16 else "u1")
    return f.png_of(f.png_header(96, 64, depth, colour), *chunks, f.png_rows([row.tobytes() for row in big]))


def _gray16() -> np.ndarray:
    return f.quadrants(colours=tuple(gray[:1] for gray in GRAYS)).astype(np.uint16) * 257


def _alpha(values: tuple[int, int, int, int]) -> np.ndarray:
    return f.quadrants(colours=tuple((*c, a) for c, a in zip(f.QUADRANTS, values, strict=True)))


def _text(name: bytes, head: bytes, megabytes: int) -> bytes:
    return f.chunk(name, head + f.deflated_zeros(megabytes))


def _bomb(width: int, height: int, depth: int, colour: int, megabytes: int) -> bytes:
    return f.png_of(f.png_header(width, height, depth, colour), f.chunk(b"IDAT", f.deflated_zeros(megabytes)))


PALETTE = f.chunk(b"PLTE", bytes(f.RED + f.GREEN + f.BLUE + f.YELLOW))
HALF_OVER_WHITE = tuple((c + 255) // 2 for c in f.RED)

# one case per line or two: a table to read
# fmt: off
GOOD = [
    Case("png rgb", lambda: f.png(), Good(tolerance=0, format="png")),
    Case("png rgba", lambda: f.png(_alpha((255,) * 4)), Good(tolerance=0)),
    Case("png gray", lambda: f.png(f.quadrants(colours=GRAYS)[:, :, 0].copy()), Good(colours=GRAYS, tolerance=0)),
    Case("png gray and alpha", lambda: f.png(Image.merge("LA", [Image.fromarray(f.quadrants(colours=GRAYS)[:, :, 0].copy()),
        Image.fromarray(_alpha((255, 0, 255, 0))[:, :, 3].copy())])), Good(colours=(GRAYS[0], WHITE, GRAYS[2], WHITE), tolerance=0)),
    Case("png 1-bit", lambda: _packed(1, 0, (0, 1, 1, 0)), Good(colours=((0,) * 3, WHITE, WHITE, (0,) * 3), tolerance=0)),
    Case("png 2-bit gray", lambda: _packed(2, 0, (0, 1, 2, 3)), Good(colours=((0,) * 3, (85,) * 3, (170,) * 3, WHITE), tolerance=0)),
    Case("png 4-bit gray", lambda: _packed(4, 0, (0, 5, 10, 15)), Good(colours=((0,) * 3, (85,) * 3, (170,) * 3, WHITE), tolerance=0)),
    Case("png palette", lambda: _packed(2, 3, (0, 1, 2, 3), PALETTE), Good(tolerance=0)),
    Case("png palette of 8 bits", lambda: _packed(8, 3, (0, 1, 2, 3), PALETTE), Good(tolerance=0)),
    Case("png rgb 16", lambda: _rows_of(f.quadrants().astype(np.uint16) * 257, 16, 2), Good(tolerance=1)),
    Case("png rgba 16", lambda: _rows_of(_alpha((255, 0, 255, 0)).astype(np.uint16) * 257, 16, 6),
        Good(colours=(f.RED, WHITE, f.BLUE, WHITE), tolerance=1)),
    Case("png 16-bit gray is scaled, not clipped", lambda: _rows_of(_gray16(), 16, 0), Good(colours=GRAYS, tolerance=1)),
    Case("png 16-bit gray with a colour key", lambda: _rows_of(_gray16(), 16, 0, f.chunk(b"tRNS", struct.pack(">H", 110 * 257))),
        Good(colours=(GRAYS[0], WHITE, GRAYS[2], GRAYS[3]), tolerance=1)),
    Case("png gray and alpha 16", lambda: _rows_of(np.concatenate([_gray16(), _alpha((255, 0, 255, 0))[:, :, 3:].astype(np.uint16) * 257], 2), 16, 4),
        Good(colours=(GRAYS[0], WHITE, GRAYS[2], WHITE), tolerance=1)),
    Case("png gamma", lambda: f.png_after_header(f.png(), f.chunk(b"gAMA", struct.pack(">I", 45455))), Good(tolerance=0)),
    Case("png half transparent", lambda: f.png(_alpha((128, 255, 255, 255))),
        Good(colours=(HALF_OVER_WHITE, *f.QUADRANTS[1:]), tolerance=2)),
    Case("png hidden colours under full transparency", lambda: f.png(_alpha((0, 0, 0, 0))), Good(colours=(WHITE,) * 4, tolerance=0)),
    Case("png palette with transparent entries", lambda: _packed(2, 3, (0, 1, 2, 3), PALETTE, f.chunk(b"tRNS", b"\xff\x00\xff\x80")),
        Good(colours=(f.RED, WHITE, f.BLUE, tuple((c + 255) // 2 for c in f.YELLOW)), tolerance=2)),
    Case("png palette with one transparent entry", lambda: _packed(8, 3, (0, 1, 2, 3), PALETTE, f.chunk(b"tRNS", b"\xff\xff\x00")),
        Good(colours=(f.RED, f.GREEN, WHITE, f.YELLOW), tolerance=0)),
    Case("png colour key", lambda: _rows_of(f.quadrants(), 8, 2, f.chunk(b"tRNS", struct.pack(">HHH", *f.GREEN))),
        Good(colours=(f.RED, WHITE, f.BLUE, f.YELLOW), tolerance=0)),
    Case("png colour key of 16 bits", lambda: _rows_of(f.quadrants().astype(np.uint16) * 257, 16, 2,
        f.chunk(b"tRNS", struct.pack(">HHH", *(c * 257 for c in f.GREEN)))), Good(colours=(f.RED, WHITE, f.BLUE, f.YELLOW), tolerance=1)),
    Case("png gray colour key of 2 bits", lambda: _packed(2, 0, (0, 1, 2, 3), f.chunk(b"tRNS", b"\x00\x02")),
        Good(colours=((0,) * 3, (85,) * 3, WHITE, WHITE), tolerance=0)),
    Case("png gray colour key of 1 bit", lambda: _packed(1, 0, (0, 1, 1, 0), f.chunk(b"tRNS", b"\x00\x00")), Good(colours=(WHITE,) * 4, tolerance=0)),
    Case("png eXIf orientation", lambda: f.png_after_header(f.png(f.stored_for(6, f.quadrants())), f.chunk(b"eXIf", f.orientation_exif(6))), Good(tolerance=0)),
    Case("png eXIf after the pixels", lambda: f.png_before_end(f.png(f.stored_for(8, f.quadrants())), f.chunk(b"eXIf", f.orientation_exif(8, ">"))), Good(tolerance=0)),
    Case("png of a display profile", lambda: f.png(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), Good(tolerance=0)),
    Case("apng", lambda: f.saved(Image.fromarray(f.quadrants()), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 64))]), Good(tolerance=0)),
    Case("png text named like a property", lambda: f.png_after_header(f.png(), f.chunk(b"tEXt", b"transparency\x00oops"),
        f.chunk(b"tEXt", b"icc_profile\x00oops"), f.chunk(b"tEXt", b"exif\x00oops")), Good(tolerance=0)),
    Case("png IDAT in 1-byte chunks", lambda: f.png_of(f.png_header(8, 8, 8, 2), *(
        f.chunk(b"IDAT", bytes([byte])) for byte in zlib.compress((b"\x00" + bytes((200,) * 24)) * 8))), Good((8, 8), ((200,) * 3,) * 4, 0)),
]

BAD = [
    Case("png cut at 50 %", lambda: f.png(f.noisy(96, 64))[: len(f.png(f.noisy(96, 64))) // 2], Bad()),
    Case("png cut at 95 %", lambda: f.png(f.noisy(96, 64))[: len(f.png(f.noisy(96, 64))) * 95 // 100], Bad()),
    Case("png signature only", lambda: f.png()[:8], Bad()),
    Case("png IHDR only", lambda: f.png()[:33], Bad()),
    Case("png without IDAT", lambda: f.png_of(f.png_header(96, 64, 8, 2)), Bad()),
    Case("png wrong magic", lambda: b"\x89PNX" + f.png()[4:], UNSUPPORTED),
    Case("png after a BOM", lambda: b"\xef\xbb\xbf" + f.png(), UNSUPPORTED),
    Case("png with mangled line ends", lambda: f.png().replace(b"\r\n", b"\n"), UNSUPPORTED),
    *(Case(f"png wrong checksum of {name.decode()}", lambda name=name: _wrong_crc(name), Either()) for name in (b"IHDR", b"IDAT", b"IEND")),
    Case("png data is not deflate", lambda: f.png_of(f.png_header(96, 64, 8, 2), f.chunk(b"IDAT", b"not deflate at all")), Bad()),
    Case("png bad filter", lambda: f.png_of(f.png_header(96, 64, 8, 2), f.chunk(b"IDAT", zlib.compress((b"\x09" + bytes(288)) * 64))), Bad()),
    Case("png 10 of 64 rows", lambda: f.png_of(f.png_header(96, 64, 8, 2), f.png_rows([bytes(288)] * 10)), Either()),
    Case("png short IHDR", lambda: f.png_of(f.chunk(b"IHDR", bytes(8))), Bad()),
    Case("png depth 3", lambda: f.png_of(f.png_header(96, 64, 3, 0), f.png_rows([bytes(36)] * 64)), Bad()),
    Case("png colour type 5", lambda: f.png_of(f.png_header(96, 64, 8, 5), f.png_rows([bytes(288)] * 64)), Bad()),
    Case("png width 0", lambda: f.png_of(f.png_header(0, 64, 8, 2), f.png_rows([b""] * 64)), Bad()),
    Case("png negative size", lambda: f.png_of(f.png_header(2**32 - 96, 64, 8, 2), f.png_rows([b""])), TOO_LARGE),
    Case("png 2^31 wide", lambda: f.png_of(f.png_header(2**31, 1, 8, 2), f.png_rows([b""])), TOO_LARGE),
    Case("png chunk of 2^32-1 bytes", lambda: f.png()[:33] + b"\xff\xff\xff\xffIDAT" + bytes(50), Either()),
    Case("png odd chunk names", lambda: f.png_after_header(f.png(), f.chunk(b"a\x00\xff!", b"x")), Either()),
    Case("png CgBI", lambda: f.png()[:8] + f.chunk(b"CgBI", bytes(4)) + f.png()[8:], Either()),
    Case("png without palette", lambda: _packed(2, 3, (0, 1, 2, 3)), Either()),
    Case("png palette index out of range", lambda: _packed(8, 3, (0, 1, 200, 255), PALETTE), Either()),
    Case("png tRNS too short", lambda: _rows_of(f.quadrants(), 8, 2, f.chunk(b"tRNS", b"\x00")), Either()),
    Case("png fcTL too short", lambda: f.png_after_header(f.png(), f.chunk(b"acTL", struct.pack(">II", 1, 0)), f.chunk(b"fcTL", b"\x00" * 5)), Either()),
    Case("png eXIf garbage", lambda: f.png_after_header(f.png(), f.chunk(b"eXIf", b"\xff" * 50)), Good(tolerance=0)),
    Case("png 900 MP of 1 bit", lambda: _bomb(30000, 30000, 1, 0, 110), TOO_LARGE),
    Case("png 144 MP", lambda: _bomb(12000, 12000, 8, 0, 1), TOO_LARGE),
    Case("png 49 MP gray", lambda: _bomb(7000, 7000, 8, 0, 47), Either()),
    Case("png 49 MP of 1 bit, transparent", lambda: f.png_of(f.png_header(7000, 7000, 1, 0), f.chunk(b"tRNS", b"\x00\x00"),
        f.chunk(b"IDAT", f.deflated_zeros(6))), Either()),
    Case("png 1,000,000x50", lambda: _bomb(1_000_000, 50, 1, 0, 7), Either()),
    Case("png 65535x1", lambda: f.png(np.full((1, 65535), 200, np.uint8)), Good((65535, 1), ((200,) * 3,) * 4, 0)),
    Case("png 1x65535", lambda: f.png(np.full((65535, 1), 200, np.uint8)), Good((1, 65535), ((200,) * 3,) * 4, 0)),
    Case("png 1x1", lambda: f.png(np.full((1, 1), 200, np.uint8)), Good((1, 1), ((200,) * 3,) * 4, 0)),
    Case("png zTXt of 256 MB", lambda: f.png_after_header(f.png(), _text(b"zTXt", b"k\x00\x00", 256)), Either()),
    Case("png iTXt of 256 MB", lambda: f.png_after_header(f.png(), _text(b"iTXt", b"k\x00\x01\x00\x00\x00", 256)), Either()),
    Case("png iCCP of 256 MB", lambda: f.png_after_header(f.png(), _text(b"iCCP", b"k\x00\x00", 256)), Either()),
    Case("png zTXt after IDAT", lambda: f.png_before_end(f.png(), _text(b"zTXt", b"k\x00\x00", 256)), Either()),
    Case("png 66 texts of 1 MB", lambda: f.png_after_header(f.png(), *[_text(b"zTXt", b"k%d\x00\x00" % n, 1) for n in range(66)]), Good()),
    Case("png 50,000 texts", lambda: f.png_after_header(f.png(), f.chunk(b"tEXt", b"k\x00v") * 50_000), Good()),
    Case("png IDAT inflating to 256 MB", lambda: _bomb(96, 64, 8, 2, 256), Either()),
    Case("apng of 1500 frames", lambda: _frames(1500), Either()),
    *(Case(f"png bit flips {s}", lambda s=s: flipped(s, f.png(f.noisy(96, 64)), 33, 8), Either()) for s in range(6)),
]
# fmt: on


def _wrong_crc(name: bytes) -> bytes:
    image = bytearray(f.png())
    at = image.index(name)
    length = struct.unpack_from(">I", image, at - 4)[0]
    image[at + 4 + length] ^= 0xFF
    return bytes(image)


def _frames(count: int) -> bytes:
    first = f.png()
    pixels = zlib.compress(b"\x00" + bytes(3))
    frames = b"".join(
        f.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * n, 1, 1, 0, 0, 1, 50, 0, 0))
        + f.chunk(b"fdAT", struct.pack(">I", 2 * n + 1) + pixels)
        for n in range(count)
    )
    return f.png_before_end(f.png_after_header(first, f.chunk(b"acTL", struct.pack(">II", count, 0))), frames)


PNG = GOOD + BAD

# Inside every limit, and as much memory as that allows: only for a process whose memory is bounded.
HEAVY = [
    Case("png 49 MP RGBA of 16 bits", lambda: _bomb(7000, 7000, 16, 6, 375), Either()),
    Case("webp 49 MP in 36 bytes", lambda: f.flat_webp(7000, 7000), Either()),
]
