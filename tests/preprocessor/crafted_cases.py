"""More of the table: what is inside our formats and their limits, and still no ordinary photo."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import TOO_LARGE, WHITE, Bad, Case, Either, Good

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _interlaced() -> bytes:
    """Adam7, which Pillow reads and does not write."""
    pixels = f.quadrants()
    rows = []
    for left, top, right, down in _PASSES:
        rows += [b"\x00" + row.tobytes() for row in pixels[top::down, left::right]]
    return f.png_of(f.png_header(96, 64, 8, 2, interlace=1), f.chunk(b"IDAT", zlib.compress(b"".join(rows))))


def _bad_checksum(name: bytes, body: bytes) -> bytes:
    return f.png_after_header(f.png(), f.chunk(name, body, crc=1))


def _gray_bomb(side: int) -> bytes:
    return f.png_of(f.png_header(side, side, 8, 0), f.chunk(b"IDAT", f.deflated_zeros(1)))


def _pixels(data: bytes, number: int) -> bytes:
    """`data` in `number` IDAT chunks of nothing before the one that holds it."""
    return f.png_of(f.png_header(8, 8, 8, 2), f.chunk(b"IDAT", b"") * number, f.chunk(b"IDAT", data))


def _indices() -> np.ndarray:
    return np.array([[0, 1], [2, 3]], np.uint8).repeat(32, 0).repeat(48, 1)


def _gif_claim(width: int, height: int, flags: int = 0) -> bytes:
    """A frame that claims a size and holds a pixel."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, flags) + b"\x02\x01\x04\x00"


def _webp_frame(side: int) -> bytes:
    picture = f.flat_webp(side, side)[12:]
    head = bytes(6) + (side - 1).to_bytes(3, "little") * 2 + (50).to_bytes(3, "little") + b"\x02"
    return head + picture


def _animated_webp(side: int, frames: int) -> bytes:
    anim = (b"ANIM", bytes(6))
    return f.riff(f.webp_canvas(side, side, 0x02), anim, *[(b"ANMF", _webp_frame(side))] * frames)


def _sampled(factors: int) -> bytes:
    """The baseline JPEG with another sampling factor of its first component."""
    image = bytearray(f.jpeg())
    image[f.frame_offset(image) + 11] = factors
    return bytes(image)


def _profile_of(space: bytes) -> bytes:
    """An sRGB profile that claims to describe another colour space."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space
    return bytes(profile)


def _many_tags() -> bytes:
    """A profile of 2^32-1 tags."""
    profile = bytearray(_profile_of(b"RGB "))
    profile[128:132] = b"\xff\xff\xff\xff"
    return bytes(profile)


_FLAT = ((200,) * 3,) * 4
_ROWS = zlib.compress((b"\x00" + bytes((200,) * 24)) * 8)

# one case per line or two: a table to read
# fmt: off
CRAFTED = [
    Case("jpeg with HTML attached", lambda: f.jpeg() + b"<html><script>1</script></html>", Good()),
    Case("jpeg with another jpeg attached", lambda: f.jpeg() + f.jpeg(np.zeros((8, 8, 3), np.uint8)), Good()),
    Case("jpeg sampling 0x0", lambda: _sampled(0x00), Bad()),
    Case("jpeg sampling 15x15", lambda: _sampled(0xFF), Bad()),
    Case("jpeg sampling 4x4", lambda: _sampled(0x44), Either()),
    Case("jpeg frame header twice", lambda: f.with_segments(f.jpeg(), f.jpeg()[f.frame_offset(f.jpeg()):][:19]), Bad()),
    Case("jpeg height from its end", lambda: f.with_frame(f.jpeg(), size=(96, 0))[:-2] + b"\xff\xdc\x00\x04\x00\x40\xff\xd9", Bad()),
    Case("jpeg quantisation by 0", lambda: f.with_segments(f.jpeg(), f.segment(0xDB, bytes(65))), Either()),
    Case("jpeg Huffman table of 256 codes of one bit", lambda: f.with_segments(f.jpeg(), f.segment(0xC4, b"\x00\xff" + bytes(15 + 255))), Either()),
    Case("jpeg restart interval 1 without markers", lambda: f.with_segments(f.jpeg(), f.segment(0xDD, b"\x00\x01")), Either()),
    Case("jpeg of gray ICC", lambda: f.jpeg(icc_profile=_profile_of(b"GRAY")), Good()),
    Case("jpeg of CMYK ICC", lambda: f.jpeg(icc_profile=_profile_of(b"CMYK")), Good()),
    Case("jpeg of an ICC space that is none", lambda: f.jpeg(icc_profile=_profile_of(b"\xff\0%n")), Good()),
    Case("jpeg of an ICC of 2^32 tags", lambda: f.jpeg(icc_profile=_many_tags()), Good()),
    Case("jpeg 255 ICC chunks", lambda: f.with_segments(f.jpeg(), *(f.segment(0xE2, b"ICC_PROFILE\0" + bytes([n, 255]) + bytes(60_000)) for n in range(1, 256))), Good()),
    Case("jpeg xmp of 60 KB", lambda: f.with_segments(f.jpeg(), f.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<a>" * 20_000)), Good()),
    Case("jpeg entities in xmp", lambda: f.with_segments(f.jpeg(), f.segment(0xE1,
        b"http://ns.adobe.com/xap/1.0/\0<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>")), Good()),
    Case("jpeg mp index of 2^32", lambda: f.with_segments(f.jpeg(), f.segment(0xE2, b"MPF\0" + f.tiff_directory(
        [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, b"\xff\xff\xff\xff"), (0xB002, 7, 2**32 - 1, b"\x08\0\0\0")]))), Good()),
    Case("jpeg photoshop block without end", lambda: f.with_segments(f.jpeg(), f.segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff")), Good()),
    Case("jpeg fill bytes", lambda: f.jpeg()[:2] + b"\xff" * 1000 + f.jpeg()[2:], Either()),
    Case("jpeg 64 KB of junk", lambda: f.jpeg()[:2] + bytes(65_000) + f.jpeg()[2:], Either()),
    Case("jpeg 1 MB of junk", lambda: f.jpeg()[:2] + bytes(1_000_000) + f.jpeg()[2:], Bad(("undecodable_image", "unsupported_media_type"))),
    Case("jpeg of SOS alone, 10,000 times", lambda: f.jpeg()[:f.scan_offset(f.jpeg())] + f.segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) * 10_000, Bad(("decode_timeout", "undecodable_image"))),
    Case("png interlaced", _interlaced, Good(tolerance=0)),
    Case("png interlaced, cut", lambda: _interlaced()[:-40], Bad()),
    Case("png wrong checksum of a text", lambda: _bad_checksum(b"tEXt", b"k\0v"), Either()),
    Case("png wrong checksum of gAMA", lambda: _bad_checksum(b"gAMA", struct.pack(">I", 45455)), Either()),
    Case("png 178 MP", lambda: _gray_bomb(13340), TOO_LARGE),
    Case("png 80 texts of 1 MB", lambda: f.png_after_header(f.png(), *[f.chunk(b"zTXt", b"k%d\0\0" % n + f.deflated_zeros(1)) for n in range(80)]), Good()),
    Case("png interlace method 7", lambda: f.png_of(f.png_header(96, 64, 8, 2, interlace=7), f.png_rows([bytes(288)] * 64)), Either()),
    Case("png two IHDR", lambda: f.png_after_header(f.png(), f.png_header(7000, 7000, 16, 6)), Bad()),
    Case("png second IHDR of 2^31", lambda: f.png_after_header(f.png(), f.png_header(2**31 - 1, 2**31 - 1, 16, 6)), Either()),
    Case("png second IHDR of 0", lambda: f.png_after_header(f.png(), f.png_header(0, 0, 8, 2)), Either()),
    Case("png palette of 300", lambda: f.png_of(f.png_header(8, 8, 8, 3), f.chunk(b"PLTE", bytes(900)), f.png_rows([bytes(8)] * 8)), Either()),
    Case("png palette of 1 byte", lambda: f.png_of(f.png_header(8, 8, 8, 3), f.chunk(b"PLTE", b"x"), f.png_rows([bytes(8)] * 8)), Either()),
    Case("png palette of nothing", lambda: f.png_of(f.png_header(8, 8, 8, 3), f.chunk(b"PLTE", b""), f.png_rows([bytes(8)] * 8)), Either()),
    Case("png more transparencies than colours", lambda: f.png_of(f.png_header(8, 8, 8, 3), f.chunk(b"PLTE", bytes(3)), f.chunk(b"tRNS", bytes(900)), f.png_rows([bytes(8)] * 8)), Either()),
    Case("png empty tRNS", lambda: f.png_after_header(f.png(), f.chunk(b"tRNS", b"")), Either()),
    Case("png gAMA of 0", lambda: f.png_after_header(f.png(), f.chunk(b"gAMA", bytes(4))), Either()),
    Case("png empty gAMA, cHRM, pHYs, sRGB", lambda: f.png_after_header(f.png(), *(f.chunk(name, b"") for name in (b"gAMA", b"cHRM", b"pHYs", b"sRGB"))), Either()),
    Case("png cHRM of zeros", lambda: f.png_after_header(f.png(), f.chunk(b"cHRM", bytes(32))), Either()),
    Case("png iCCP without a profile", lambda: f.png_after_header(f.png(), f.chunk(b"iCCP", b"k")), Either()),
    Case("png iCCP of another method", lambda: f.png_after_header(f.png(), f.chunk(b"iCCP", b"k\0\x09xx")), Either()),
    Case("png iTXt of nothing", lambda: f.png_after_header(f.png(), f.chunk(b"iTXt", b"")), Either()),
    Case("png acTL of 2^32 frames", lambda: f.png_after_header(f.png(), f.chunk(b"acTL", b"\xff" * 8)), Either()),
    Case("png acTL of 0 frames", lambda: f.png_after_header(f.png(), f.chunk(b"acTL", bytes(8))), Either()),
    Case("png 100,000 empty IDATs", lambda: _pixels(_ROWS, 100_000), Either()),
    Case("png data after its end", lambda: f.png() + f.png(f.noisy(96, 64)), Good(tolerance=0)),
    Case("png rows after the last", lambda: f.png_of(f.png_header(8, 8, 8, 2), f.png_rows([bytes((200,) * 24)] * 800)), Either()),
    Case("png a dictionary is needed", lambda: f.png_of(f.png_header(8, 8, 8, 2), f.chunk(b"IDAT", b"\x78\xbb\0\0\0\1" + _ROWS[2:])), Bad()),
    Case("gif 144 MP of LZW", lambda: f.gif_of((12000, 12000), _gif_claim(12000, 12000)), TOO_LARGE),
    Case("gif 1000 frames of 4 MP", lambda: f.gif_of((2000, 2000), f.gif_frame(0, 0, _indices()), _gif_claim(2000, 2000) * 1000), Either()),
    Case("gif frame of 0x0", lambda: f.gif_of((96, 64), _gif_claim(0, 0)), Bad()),
    Case("gif frame one larger than its screen", lambda: f.gif_of((96, 64), _gif_claim(97, 65)), Either()),
    Case("gif interlaced flag", lambda: f.gif_of((96, 64), _gif_claim(96, 64, 0x40)), Either()),
    Case("gif local palette cut", lambda: f.gif_of((96, 64), b"," + struct.pack("<HHHHB", 0, 0, 96, 64, 0x87) + b"xx"), Bad()),
    Case("gif without any palette", lambda: b"GIF89a" + struct.pack("<HHBBB", 96, 64, 0, 0, 0) + f.gif_frame(0, 0, _indices()) + b";", Either()),
    Case("gif 87a", lambda: b"GIF87a" + f.gif_of((96, 64), f.gif_frame(0, 0, _indices()))[6:], Good(tolerance=2)),
    Case("gif transparent index out of the palette", lambda: f.gif_of((96, 64), f.gif_control(transparent=255), f.gif_frame(0, 0, _indices())), Good(tolerance=2)),
    Case("gif everything transparent", lambda: f.gif_of((96, 64), f.gif_control(transparent=0), f.gif_frame(0, 0, np.zeros((64, 96), np.uint8))), Good(colours=(WHITE,) * 4, tolerance=2)),
    Case("webp of two pictures", lambda: f.riff((b"VP8L", f.flat_webp(64, 48)[20:]), (b"VP8L", f.flat_webp(12000, 12000)[20:])), Either()),
    Case("webp alpha garbage", lambda: f.riff(f.webp_canvas(96, 64, 0x10), (b"ALPH", b"\xff" * 40), (b"VP8 ", f.saved(f.quadrants(), "WEBP")[20:])), Either()),
    Case("webp animated without a frame", lambda: f.riff(f.webp_canvas(96, 64, 0x02), (b"ANIM", bytes(6))), Bad()),
    Case("webp frame inside a frame", lambda: f.riff(f.webp_canvas(64, 64, 0x02), (b"ANIM", bytes(6)), (b"ANMF", _webp_frame(64)[:16] + b"ANMF" + struct.pack("<I", 99) + _webp_frame(64))), Either()),
    Case("webp exif of 1 MB", lambda: f.riff(f.webp_canvas(64, 64, 0x08), (b"VP8L", f.flat_webp(64, 64)[20:]), (b"EXIF", bytes(1_000_000))), Good((64, 64), (f.RED,) * 4, tolerance=1)),
    Case("webp icc garbage", lambda: f.riff(f.webp_canvas(64, 64, 0x20), (b"ICCP", b"\xff" * 300), (b"VP8L", f.flat_webp(64, 64)[20:])), Good((64, 64), (f.RED,) * 4, tolerance=1)),
    Case("webp 100,000 unknown chunks", lambda: f.riff(f.webp_canvas(64, 64), *[(b"abcd", b"")] * 100_000, (b"VP8L", f.flat_webp(64, 64)[20:])), Either()),
]

# Inside every limit, and as much memory or time as that allows: only for a process that is bounded in both.
CRAFTED_HEAVY = [
    Case("jpeg 49 MP", lambda: f.saved(Image.new("RGB", (7000, 7000), (200, 200, 200)), "JPEG", quality=50), Good((7000, 7000), _FLAT, 3)),
    Case("jpeg 49 MP progressive", lambda: f.saved(Image.new("RGB", (7000, 7000), (200, 200, 200)), "JPEG", quality=50, progressive=True), Either()),
    Case("png 49 MP interlaced", lambda: f.png_of(f.png_header(7000, 7000, 8, 2, interlace=1), f.chunk(b"IDAT", f.deflated_zeros(141))), Either()),
    Case("gif 49 MP", lambda: f.gif_of((7000, 7000), _gif_claim(7000, 7000)), Either()),
    Case("webp 2000 frames of 16 MP", lambda: _animated_webp(4000, 2000), Either()),
]
# fmt: on
