"""The part of the table that is no image we take: other formats, sound and crafted, documents, programs, addresses.

All of them are refused by their first bytes, before any reader has seen the rest; that is the case's whole point.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import UNSUPPORTED, Case


def _tiff(compression: str, mode: str = "RGB", **options: object) -> bytes:
    return f.saved(Image.fromarray(f.quadrants()).convert(mode), "TIFF", compression=compression, **options)


def _tiff_of(pixels: np.ndarray) -> bytes:
    return f.saved(Image.fromarray(pixels), "TIFF")


def _pages(count: int) -> bytes:
    page = Image.new("L", (4, 4))
    return f.saved(page, "TIFF", save_all=True, append_images=[page] * (count - 1))


def _directory(*entries: tuple[int, int, int, bytes], following: int = 0, count: int | None = None) -> bytes:
    """A little-endian TIFF whose first directory has these entries."""
    body = b"".join(struct.pack("<HHI", tag, kind, number) + value for tag, kind, number, value in entries)
    return (
        b"II*\x00\x08\x00\x00\x00"
        + struct.pack("<H", len(entries) if count is None else count)
        + body
        + struct.pack("<I", following)
    )


def _long(value: int) -> bytes:
    return struct.pack("<I", value)


def _bmp(
    width: int, height: int, bits: int = 24, compression: int = 0, header: int = 40, data: bytes = b""
) -> bytes:
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def _avif_of(width: int, height: int) -> bytes:
    ispe = _box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    meta = _box(b"meta", bytes(4) + _box(b"iprp", _box(b"ipco", ispe)))
    return _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1") + meta


def _jp2_of(width: int, height: int) -> bytes:
    header = _box(b"jp2h", _box(b"ihdr", struct.pack(">IIHBBBB", height, width, 3, 7, 7, 0, 0)))
    return _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + header


_SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>%b</svg>"
_LAUGHS = (
    b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'ha'>"
    + b"".join(b"<!ENTITY %c '%b'>" % (n + 1, b"&%c;" % n * 10) for n in range(97, 106))
    + b"]><svg>&j;</svg>"
)

# fmt: off
_FOREIGN: dict[str, bytes] = {
    # TIFF
    "tiff lzw": _tiff("tiff_lzw"), "tiff deflate": _tiff("tiff_adobe_deflate"), "tiff packbits": _tiff("packbits"),
    "tiff jpeg": _tiff("jpeg"), "tiff cmyk": _tiff("raw", "CMYK"), "tiff gray 16": _tiff_of(np.zeros((8, 8), np.uint16)),
    "tiff float": _tiff_of(np.zeros((8, 8), np.float32)), "tiff of 301 pages": _pages(301),
    "tiff orientation 6": _tiff("raw", tiffinfo={0x0112: 6}),
    "tiff next directory loop": _directory((0x100, 4, 1, _long(4)), following=8),
    "tiff exif loop": _directory((0x8769, 4, 1, _long(8))), "tiff gps loop": _directory((0x8825, 4, 1, _long(8))),
    "tiff sub loop": _directory((0x14A, 4, 1, _long(8))), "tiff offset outside": b"II*\0\xff\xff\xff\xff",
    "tiff of 65535 entries": _directory(count=65535), "tiff 0x0": _directory((0x100, 4, 1, _long(0)), (0x101, 4, 1, _long(0))),
    "tiff g4 of 3.6 GP": _directory((0x100, 4, 1, _long(60000)), (0x101, 4, 1, _long(60000)), (0x103, 3, 1, _long(4))) + bytes(7600),
    "tiff deflate of 144 MP": _directory((0x100, 4, 1, _long(12000)), (0x101, 4, 1, _long(12000)), (0x103, 3, 1, _long(8))),
    "bigtiff": b"II+\0\x08\0\0\0" + bytes(60),
    # BMP and ICO
    "bmp top-down": _bmp(4, -4, data=bytes(48)), "bmp cut": _bmp(96, 64)[:60], "bmp 40 bpp": _bmp(4, 4, bits=40),
    "bmp 2^31": _bmp(2**31 - 1, 2**31 - 1), "bmp height -2^31": _bmp(4, -(2**31)), "bmp rle of 900 MP": _bmp(30000, 30000, 8, 1),
    "bmp header size 1": _bmp(4, 4, header=1), "ico png bomb": b"\0\0\1\0\1\0" + bytes(8) + struct.pack("<II", 200, 22) + f.png(),
    "ico 0 entries": b"\0\0\1\0\0\0", "ico 65535 entries": b"\0\0\1\0\xff\xff", "cur": b"\0\0\2\0\1\0" + bytes(20),
    # AVIF, HEIC, video, JPEG 2000
    "avif cut": f.saved(f.quadrants(), "AVIF")[:200], "avif ispe 65535": _avif_of(65535, 65535), "avif ispe 0": _avif_of(0, 0),
    "heic box flood": _box(b"ftyp", b"heic\0\0\0\0mif1heic") + _box(b"free", b"") * 10_000,
    "heic box of size 0": _box(b"ftyp", b"heic\0\0\0\0") + bytes(64), "quicktime": _box(b"ftyp", b"qt  \0\0\0\0qt  "),
    "jpeg 2000 60000x60000": _jp2_of(60000, 60000), "jpeg 2000 cut": f.saved(f.quadrants(), "JPEG2000")[:150],
    "jpeg 2000 stream": b"\xff\x4f\xff\x51" + bytes(60),
    # vectors and documents
    "svg xxe": b"<?xml version='1.0'?><!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + _SVG % b"<text>&x;</text>",
    "svg remote image": _SVG % b"<image href='http://127.0.0.1:1/x.png'/>", "svg entity expansion": _LAUGHS, "svg after spaces": b"  \n" + _SVG % b"",
    "eps negative binary": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%BeginBinary: -1\n", "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "emf": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60), "mvg": b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://127.0.0.1/x'\n",
    "msl": b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>", "postscript": b"%!PS\n(/etc/passwd) (r) file\n",
    # what Pillow would open
    "xbm": b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0};", "fli": b"\x0c\0\0\0\x11\xaf\1\0\x40\1\xc8\0" + bytes(200),
    "mcidas": bytes(7) + b"\x04" + bytes(248), "spider": struct.pack(">24f", *[1.0] * 24) + bytes(100), "msp": b"DanM" + bytes(60),
    "gbr": struct.pack(">IIIII", 20, 2, 8, 8, 4) + b"GIMP", "blp": b"BLP2" + bytes(60), "dcx": b"\xb1\x68\xde\x3a" + bytes(60),
    "pixar": b"\x80\xe8\0\0" + bytes(600), "sun": b"\x59\xa6\x6a\x95" + bytes(60), "cineon": b"\x80\x2a\x5f\xd7" + bytes(60),
    "farbfeld": b"farbfeld" + bytes(60), "openexr": b"\x76\x2f\x31\x01" + bytes(60), "radiance": b"#?RADIANCE\n" + bytes(60), "flif": b"FLIF" + bytes(60),
    # programs, archives, models
    "text": b"certainly not an image", "php": b"<?php system($_GET['x']); ?>", "shell": b"#!/bin/sh\nid\n", "class file": b"\xca\xfe\xba\xbe" + bytes(60),
    "a pickle of protocol 0": b"cposix\nsystem\n(S'id'\ntR.", "7z": b"7z\xbc\xaf\x27\x1c" + bytes(60), "xz": b"\xfd7zXZ\0" + bytes(60), "zstd": b"\x28\xb5\x2f\xfd" + bytes(60),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(60), "safetensors": b"\x02\0\0\0\0\0\0\0{}", "mpeg": b"\0\0\1\xba" + bytes(60), "ogg": b"OggS" + bytes(60),
    "avi": b"RIFF\x24\0\0\0AVI LIST" + bytes(24), "nul": b"\0", "a url with spaces": b"  https://127.0.0.1/x.jpg\n", "a file url": b"file:///etc/passwd",
    "a windows path": b"C:\\photo.jpg", "a data url": b"data:image/png;base64,iVBORw0KGgo=", "a magick coder": b"ephemeral:/tmp/x", "base64 of a jpeg": b"/9j/4AAQSkZJRgABAQAAAQABAAD/",
    "half of a jpeg's magic": b"\xff\xd8", "RIFF alone": b"RIFF\x04\0\0\0", "GIF9": b"GIF9" + bytes(30), "jpeg after a byte": b"\n" + f.jpeg(),
}
# fmt: on

FOREIGN = [Case(name, lambda data=data: data, UNSUPPORTED) for name, data in _FOREIGN.items()]
