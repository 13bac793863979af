"""The table of images of the formats that can be switched on, with what must come of each where its format is on."""

from __future__ import annotations

import struct
from importlib.util import find_spec

import numpy as np
from PIL import Image

from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import GRAYS, TOO_LARGE, Bad, Case, Either, Good

LOSSLESS = Good(tolerance=2)


def _tiff(pixels: np.ndarray | Image.Image | None = None, **options: object) -> bytes:
    return f.saved(f.quadrants() if pixels is None else pixels, "TIFF", **options)


def _turned_tiff(orientation: int) -> bytes:
    return _tiff(f.stored_for(orientation, f.quadrants()), tiffinfo={274: orientation})


def _gray_16() -> bytes:
    return _tiff(
        Image.fromarray(
            np.asarray(Image.fromarray(f.quadrants(colours=GRAYS)).convert("L")).astype(np.uint16) * 257
        )
    )


def _pages(count: int) -> bytes:
    return _tiff(
        Image.fromarray(f.quadrants()), save_all=True, append_images=[Image.new("RGB", (8, 8))] * (count - 1)
    )


def _claims(*entries: tuple[int, int, int], order: str = "<", following: int = 0) -> bytes:
    """A TIFF directory of (tag, type, value) and nothing else."""
    packed = [
        (tag, kind, 1, struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0"))
        for tag, kind, value in entries
    ]
    return f.tiff_directory(packed, order, following)


def _looped() -> bytes:
    """The next directory, and those of EXIF and GPS, are the first one."""
    one = bytearray(_tiff())
    (at,) = struct.unpack_from("<I", one, 4)
    (entries,) = struct.unpack_from("<H", one, at)
    directory = bytes(one[at + 2 : at + 2 + 12 * entries])
    loops = b"".join(struct.pack("<HHII", tag, 4, 1, len(one)) for tag in (0x014A, 0x8769, 0x8825))
    struct.pack_into("<I", one, 4, len(one))
    return bytes(one) + struct.pack("<H", entries + 3) + directory + loops + struct.pack("<I", len(one))


def _bmp(pixels: np.ndarray | Image.Image | None = None) -> bytes:
    return f.saved(f.quadrants() if pixels is None else pixels, "BMP")


def _bmp_with(offset: int, packing: str, *values: int) -> bytes:
    one = bytearray(_bmp())
    struct.pack_into(packing, one, offset, *values)
    return bytes(one)


def _top_down() -> bytes:
    one = bytearray(_bmp(np.ascontiguousarray(f.quadrants()[::-1])))
    struct.pack_into("<i", one, 22, -f.HEIGHT)
    return bytes(one)


def _avif(pixels: np.ndarray | None = None, **options: object) -> bytes:
    return f.saved(
        f.quadrants() if pixels is None else pixels, "AVIF", quality=95, subsampling="4:4:4", **options
    )


def _heic(pixels: np.ndarray | None = None, **options: object) -> bytes:
    import io

    from pillow_heif import from_pillow

    out = io.BytesIO()
    from_pillow(Image.fromarray(f.quadrants() if pixels is None else pixels)).save(
        out, quality=95, chroma=444, **options
    )
    return out.getvalue()


def _extent(data: bytes, width: int, height: int) -> bytes:
    """Every `ispe` of the file claims these dimensions."""
    one, at = bytearray(data), 0
    while (at := one.find(b"ispe", at)) >= 0:
        struct.pack_into(">II", one, at + 8, width, height)
        at += 4
    return bytes(one)


def _cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


# fmt: off
TIFF = [
    Case("tiff", _tiff, Good(tolerance=1, format="tiff")),
    *(Case(f"tiff {name}", lambda name=name: _tiff(compression=name), LOSSLESS) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
    Case("tiff jpeg", lambda: _tiff(compression="jpeg", quality=95), Good()),
    *(Case(f"tiff orientation {n}", lambda n=n: _turned_tiff(n), LOSSLESS) for n in range(1, 9)),
    Case("tiff orientation 9", lambda: _tiff(tiffinfo={274: 9}), LOSSLESS),
    Case("tiff cmyk", lambda: _tiff(Image.fromarray(f.quadrants()).convert("CMYK")), LOSSLESS),
    Case("tiff gray of 16 bits", _gray_16, Good(colours=GRAYS, tolerance=2)),
    Case("tiff with alpha", lambda: _tiff(f.quadrants(colours=((*f.RED, 255), (*f.GREEN, 0), (*f.BLUE, 0), (*f.YELLOW, 255)))),
         Good(colours=(f.RED, (255,) * 3, (255,) * 3, f.YELLOW), tolerance=2)),
    Case("tiff of floats", lambda: _tiff(Image.fromarray(np.zeros((8, 8), np.float32))), Bad()),
    Case("tiff of 301 pages", lambda: _pages(301), LOSSLESS),
    Case("tiff whose directories form loops", _looped, Either()),
    Case("tiff directory outside the file", lambda: b"II*\0\xff\xff\xff\x7f" + bytes(60), Bad()),
    Case("tiff of 65535 entries", lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(60), Bad()),
    Case("tiff of 0x0", lambda: _claims((256, 3, 0), (257, 3, 0)), Bad()),
    Case("tiff without dimensions", lambda: _claims((259, 3, 1)), Bad()),
    Case("tiff of two widths", lambda: _claims((256, 3, 8), (256, 4, 60000), (257, 3, 8)), Bad()),
    Case("tiff of 3.6 GP", lambda: _claims((256, 4, 60000), (257, 4, 60000), (259, 3, 4)), TOO_LARGE),
    Case("tiff of 144 MP, big-endian", lambda: _claims((256, 4, 12000), (257, 4, 12000), (259, 3, 8), order=">"), TOO_LARGE),
    Case("tiff cut", lambda: _cut(_tiff(f.noisy(160, 120)), 0.6), Bad()),
    Case("tiff lzw cut", lambda: _cut(_tiff(f.noisy(160, 120), compression="tiff_lzw"), 0.5), Bad()),
]

BMP = [
    Case("bmp", _bmp, Good(tolerance=1, format="bmp")),
    Case("bmp with a palette", lambda: _bmp(Image.fromarray(f.quadrants()).convert("P", palette=Image.Palette.ADAPTIVE)), Good()),
    Case("bmp top down", _top_down, Good(tolerance=1)),
    Case("bmp cut", lambda: _cut(_bmp(), 0.5), Bad()),
    Case("bmp header cut", lambda: _bmp()[:20], Bad()),
    Case("bmp of 40 bits", lambda: _bmp_with(28, "<H", 40), Bad()),
    Case("bmp of 2^31", lambda: _bmp_with(18, "<ii", 2**31 - 1, 2**31 - 1), TOO_LARGE),
    Case("bmp of height -2^31", lambda: _bmp_with(22, "<i", -(2**31)), TOO_LARGE),
    Case("bmp of width -1", lambda: _bmp_with(18, "<i", -1), Bad()),
    Case("bmp rle of 900 MP", lambda: _bmp_with(18, "<iiHHI", 30000, 30000, 1, 8, 1), TOO_LARGE),
    Case("bmp header of size 1", lambda: _bmp_with(14, "<I", 1), Bad(("unsupported_media_type",))),
]

AVIF = [
    Case("avif", _avif, Good(format="avif")),
    Case("avif orientation 6", lambda: _avif(f.stored_for(6, f.quadrants()), exif=f.orientation_exif(6)), Good()),
    Case("avif cut", lambda: _cut(_avif(f.noisy(160, 120)), 0.5), Bad()),
    Case("avif stub", lambda: _avif()[:40], Bad()),
    Case("avif of 65535x65535", lambda: _extent(_avif(), 65535, 65535), TOO_LARGE),
    Case("avif of 0", lambda: _extent(_avif(), 0, 64), Bad()),
    Case("avif unlike its extent", lambda: _extent(_avif(), 32, 32), Either()),
]

HEIC = [
    Case("heic stub", lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Bad()),
    Case("heic of nothing but boxes", lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00\x00\x00\x08free" * 100_000, Bad()),
    Case("heic box longer than the file", lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\xff\xff\xff\xffmeta", Bad()),
]
if find_spec("pillow_heif") is not None:
    HEIC += [
        Case("heic", _heic, Good(format="heic")),
        Case("heic orientation 6", lambda: _heic(f.stored_for(6, f.quadrants()), exif=f.orientation_exif(6)), Either()),
        Case("heic cut", lambda: _cut(_heic(f.noisy(160, 120)), 0.5), Bad()),
        Case("heic of 65535x65535", lambda: _extent(_heic(), 65535, 65535), TOO_LARGE),
        Case("heic of 0", lambda: _extent(_heic(), 64, 0), Bad()),
    ]
# fmt: on
