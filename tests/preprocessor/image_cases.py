"""The table of odd and hostile images: each with what must come of it. Sound ones must come out upright and in colour."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from tests.preprocessor import image_files as f

GRAYS = ((40,) * 3, (110,) * 3, (180,) * 3, (250,) * 3)
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Good:
    """Decodes; the four quadrants have these colours, each channel within `tolerance`."""

    size: tuple[int, int] = (f.WIDTH, f.HEIGHT)
    colours: tuple[tuple[int, ...], ...] | None = f.QUADRANTS
    tolerance: int = 12
    format: str | None = None


@dataclass(frozen=True)
class Bad:
    """Is refused with one of these codes."""

    codes: tuple[str, ...] = ("undecodable_image",)


@dataclass(frozen=True)
class Either:
    """Decodes or is refused; what counts is that it ends soon, with a code and inside the memory limit."""


Expected = Good | Bad | Either


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], bytes]
    expected: Expected


UNSUPPORTED = Bad(("unsupported_media_type",))
TOO_LARGE = Bad(("image_too_large",))


def _gray() -> Image.Image:
    return Image.fromarray(f.quadrants(colours=GRAYS)).convert("L")


def _cmyk() -> Image.Image:
    return Image.fromarray(f.quadrants()).convert("CMYK")


def _ycck() -> bytes:
    """Ink as luma, chroma and black, inverted, as Adobe's programs store it. Pillow writes CMYK, so the rest is done here."""
    ink = np.asarray(_cmyk())
    colours = np.asarray(Image.fromarray(ink[:, :, :3].copy()).convert("YCbCr"))
    stored = np.concatenate([colours, 255 - ink[:, :, 3:]], 2)
    image = bytearray(f.jpeg(Image.frombytes("CMYK", (f.WIDTH, f.HEIGHT), (255 - stored).tobytes())))
    image[image.index(b"Adobe") + 11] = 2
    return bytes(image)


def _oriented(orientation: int) -> bytes:
    return f.with_segments(
        f.jpeg(f.stored_for(orientation, f.quadrants())), f.exif_segment(f.orientation_exif(orientation))
    )


def _with_exif(tiff: bytes) -> bytes:
    return f.with_segments(f.jpeg(), f.exif_segment(tiff))


def _icc(*bodies: bytes) -> bytes:
    return f.with_segments(f.jpeg(), *(f.segment(0xE2, b"ICC_PROFILE\x00" + body) for body in bodies))


def _cut(image: bytes, share: float) -> bytes:
    return image[: int(len(image) * share)]


def _without(image: bytes, marker: int) -> bytes:
    """The JPEG without its segments of one kind."""
    out, position = [image[:2]], 2
    while image[position + 1] != 0xDA:
        end = position + 2 + struct.unpack_from(">H", image, position + 2)[0]
        if image[position + 1] != marker:
            out.append(image[position:end])
        position = end
    return b"".join([*out, image[position:]])


def _restarts_swapped() -> bytes:
    image = bytearray(f.jpeg(f.noisy(160, 120), restart_marker_rows=1))
    first = image.index(b"\xff\xd0")
    image[first + 1] = 0xD5
    return bytes(image)


def _mpo() -> bytes:
    second = Image.new("RGB", (96, 64), (0, 0, 0))
    return f.saved(f.quadrants(), "MPO", save_all=True, append_images=[second], quality=92, subsampling=0)


def swapped_primaries() -> bytes:
    """An sRGB profile whose red and blue columns are exchanged: a photo whose colours only the profile tells."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def flipped(seed: int, image: bytes, start: int, count: int) -> bytes:
    random = np.random.default_rng(seed)
    out = bytearray(image)
    for _ in range(count):
        out[int(random.integers(start, len(out)))] ^= 1 << int(random.integers(8))
    return bytes(out)


# one case per line or two: a table to read
# fmt: off
ORIENTED = [Case(f"jpeg orientation {o}", lambda o=o: _oriented(o), Good()) for o in range(1, 9)]

JPEG = [
    Case("jpeg baseline 4:4:4", lambda: f.jpeg(), Good(format="jpeg")),
    Case("jpeg 4:2:0, odd size", lambda: f.jpeg(f.quadrants(97, 65), subsampling=2), Good((97, 65), tolerance=25)),
    Case("jpeg low quality", lambda: f.jpeg(quality=20), Good(tolerance=30)),
    Case("jpeg progressive", lambda: f.jpeg(progressive=True), Good()),
    Case("jpeg gray", lambda: f.jpeg(_gray()), Good(colours=GRAYS)),
    Case("jpeg CMYK as Adobe stores it", lambda: f.jpeg(_cmyk()), Good(tolerance=25)),
    Case("jpeg YCCK as Adobe stores it", _ycck, Good(tolerance=25)),
    Case("jpeg restart markers", lambda: f.jpeg(restart_marker_rows=1), Good()),
    Case("mpo of a phone", _mpo, Good(format="jpeg")),
    *ORIENTED,
    Case("jpeg big-endian exif", lambda: f.with_segments(
        f.jpeg(f.stored_for(6, f.quadrants())), f.exif_segment(f.orientation_exif(6, ">"))), Good()),
    *(Case(f"jpeg orientation value {v}", lambda v=v: _with_exif(f.orientation_exif(v)), Good()) for v in (0, 9, 65535)),
    Case("jpeg orientation as text", lambda: _with_exif(f.tiff_directory([(0x0112, 2, 1, b"6\0\0\0")])), Good()),
    Case("jpeg exif garbage", lambda: _with_exif(bytes(range(256)) * 4), Good()),
    Case("jpeg exif empty", lambda: _with_exif(b""), Good()),
    Case("jpeg exif of 65535 entries", lambda: _with_exif(b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(600)), Good()),
    Case("jpeg exif counts of 2^32", lambda: _with_exif(f.tiff_directory([(0x0112, 3, 2**32 - 1, b"\x06\0\0\0")])), Good()),
    Case("jpeg exif directory outside", lambda: _with_exif(b"II*\x00\xff\xff\xff\xff"), Good()),
    Case("jpeg exif directory loop", lambda: _with_exif(f.tiff_directory([(0x8769, 4, 1, b"\x08\0\0\0")], following=8)), Good()),
    Case("jpeg thumbnail decoy", lambda: f.with_segments(
        f.jpeg(), f.segment(0xE1, b"Exif\x00\x00" + f.tiff_directory([]) + f.jpeg(np.zeros((8, 8, 3), np.uint8)))), Good()),
    Case("jpeg icc garbage", lambda: _icc(b"\x01\x01" + bytes(range(256)) * 3), Good()),
    Case("jpeg icc chunk missing", lambda: _icc(b"\x01\x02" + bytes(300)), Good()),
    Case("jpeg icc chunk 0 of 0", lambda: _icc(b"\x00\x00" + bytes(300)), Good()),
    Case("jpeg icc with swapped primaries", lambda: f.jpeg(
        f.quadrants()[:, :, ::-1].copy(), icc_profile=swapped_primaries()), Good(tolerance=30)),
    Case("jpeg 12 MB of comments", lambda: f.with_segments(f.jpeg(), f.segment(0xFE, bytes(65000)) * 190), Good()),
    Case("jpeg 10,000 segments", lambda: f.with_segments(f.jpeg(), f.segment(0xEA, b"x") * 10_000), Either()),
    *(Case(f"jpeg with {what} attached", lambda tail=tail: f.jpeg() + tail, Good())
      for what, tail in (("junk", bytes(range(256)) * 9), ("a ZIP", b"PK\x03\x04" * 50), ("PHP", b"<?php system(1); ?>"))),
    *(Case(f"jpeg cut at {int(s * 100)} %", lambda s=s: _cut(f.jpeg(f.noisy(320, 240)), s), Bad()) for s in (0.1, 0.5, 0.95)),
    Case("jpeg progressive cut at 50 %", lambda: _cut(f.jpeg(f.noisy(320, 240), progressive=True), 0.5), Bad()),
    Case("jpeg progressive cut at 90 %", lambda: _cut(f.jpeg(f.noisy(320, 240), progressive=True), 0.9), Either()),
    Case("jpeg ends after SOS", lambda: f.jpeg()[: f.scan_offset(f.jpeg()) + 14], Bad()),
    Case("jpeg SOI only", lambda: b"\xff\xd8", UNSUPPORTED),
    Case("jpeg SOI and EOI", lambda: b"\xff\xd8\xff\xd9", Bad()),
    Case("jpeg magic only", lambda: b"\xff\xd8\xff", Bad()),
    Case("jpeg without EOI", lambda: f.jpeg()[:-2], Either()),
    Case("jpeg restart markers out of order", _restarts_swapped, Either()),
    Case("jpeg width 0", lambda: f.with_frame(f.jpeg(), size=(0, 64)), Bad()),
    Case("jpeg height 0", lambda: f.with_frame(f.jpeg(), size=(96, 0)), Bad()),
    Case("jpeg 12-bit", lambda: f.with_frame(f.jpeg(), precision=12), Bad()),
    Case("jpeg lossless", lambda: f.with_frame(f.jpeg(), marker=0xC3), Bad()),
    Case("jpeg of 2 components", lambda: f.jpeg()[: f.frame_offset(f.jpeg())] + f.segment(
        0xC0, struct.pack(">BHHB", 8, 64, 96, 2) + bytes([1, 0x11, 0, 2, 0x11, 0])) + f.jpeg()[f.scan_offset(f.jpeg()) :], Bad()),
    Case("jpeg without frame header", lambda: _without(f.jpeg(), 0xC0), Bad()),
    Case("jpeg without quantisation tables", lambda: _without(f.jpeg(), 0xDB), Bad()),
    Case("jpeg without Huffman tables", lambda: _without(f.jpeg(), 0xC4), Either()),
    Case("jpeg arithmetic marker", lambda: f.with_frame(f.jpeg(), marker=0xC9), Either()),
    Case("jpeg segment length 0", lambda: f.with_segments(f.jpeg(), b"\xff\xe3\x00\x00"), Either()),
    Case("jpeg segment past the end", lambda: f.jpeg()[:2] + b"\xff\xe3\xff\xff" + b"x", Bad()),
    *(Case(f"jpeg bit flips {s}", lambda s=s: flipped(s, f.jpeg(f.noisy(160, 120)), 600, 40), Either()) for s in range(6)),
    *(Case(f"jpeg header fuzz {s}", lambda s=s: flipped(s, f.jpeg()[:700], 2, 25) + f.jpeg()[700:], Either()) for s in range(6)),
    Case("jpeg 65500x65500", lambda: f.with_frame(f.jpeg(), size=(65500, 65500)), TOO_LARGE),
    Case("jpeg 65500x700 without data", lambda: f.with_frame(f.jpeg(), size=(65500, 700)), Either()),
    Case("jpeg of 3000 passes", lambda: f.many_scans(7000, 7000, 3000), Bad(("decode_timeout",))),
    Case("jpeg of 2000 passes", lambda: f.many_scans(4000, 4000, 2000), Bad(("decode_timeout",))),
    Case("jpeg 1x1", lambda: f.jpeg(np.full((1, 1, 3), 200, np.uint8)), Good((1, 1), ((200,) * 3,) * 4)),
    Case("jpeg 65500x1", lambda: f.jpeg(np.full((1, 65500, 3), 200, np.uint8)), Good((65500, 1), ((200,) * 3,) * 4)),
    Case("jpeg 1x65500", lambda: f.jpeg(np.full((65500, 1, 3), 200, np.uint8)), Good((1, 65500), ((200,) * 3,) * 4)),
]

WEBP = [
    Case("webp lossy", lambda: f.saved(f.quadrants(), "WEBP", quality=95), Good(tolerance=25, format="webp")),
    Case("webp lossless", lambda: f.saved(f.quadrants(), "WEBP", lossless=True), Good(tolerance=1)),
    Case("webp with alpha", lambda: f.saved(
        f.quadrants(colours=((*f.RED, 255), (*f.GREEN, 0), (*f.BLUE, 0), (*f.YELLOW, 255))), "WEBP", lossless=True, exact=True),
        Good(colours=(f.RED, WHITE, WHITE, f.YELLOW), tolerance=2)),
    Case("webp animated", lambda: f.saved(Image.fromarray(f.quadrants()), "WEBP", save_all=True, lossless=True,
        append_images=[Image.new("RGB", (96, 64))], duration=50), Good(tolerance=2)),
    Case("webp orientation 6", lambda: f.saved(f.stored_for(6, f.quadrants()), "WEBP", lossless=True,
        exif=f.orientation_exif(6)), Good(tolerance=1)),
    Case("webp made by hand", lambda: f.flat_webp(640, 480), Good((640, 480), (f.RED,) * 4, tolerance=1)),
    Case("webp cut", lambda: _cut(f.saved(f.noisy(160, 120), "WEBP"), 0.5), Bad()),
    Case("webp of 12 bytes", lambda: b"RIFF\x04\x00\x00\x00WEBP", Bad()),
    Case("a WAVE", lambda: b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(24), UNSUPPORTED),
    Case("webp claiming 2 GB", lambda: b"RIFF\xf0\xff\xff\x7f" + f.flat_webp(64, 64)[8:], Either()),
    *(Case(f"webp flipped {s}", lambda s=s: flipped(s, f.saved(f.noisy(160, 120), "WEBP"), 12, 20), Either()) for s in range(4)),
    Case("webp 268 MP in 36 bytes", lambda: f.flat_webp(16383, 16383), TOO_LARGE),
    Case("webp 144 MP in 36 bytes", lambda: f.flat_webp(12000, 12000), TOO_LARGE),
    Case("webp canvas 65535x65535", lambda: f.riff(f.webp_canvas(65535, 65535), (b"VP8L", f.flat_webp(64, 64)[20:])), TOO_LARGE),
    Case("webp canvas unlike its picture", lambda: f.riff(f.webp_canvas(64, 64), (b"VP8L", f.flat_webp(12000, 12000)[20:])), Bad()),
]

GIF = [
    Case("gif", lambda: f.saved(f.quadrants(), "GIF"), Good(format="gif")),
    Case("gif animated", lambda: f.saved(Image.fromarray(f.quadrants()), "GIF", save_all=True,
        append_images=[Image.new("RGB", (96, 64))]), Good()),
    Case("gif transparent", lambda: f.gif_of((96, 64), f.gif_control(transparent=1), f.gif_frame(0, 0, _indices())),
        Good(colours=(f.RED, WHITE, f.BLUE, f.YELLOW), tolerance=2)),
    Case("gif frame smaller than its screen", lambda: f.gif_of((96, 64), f.gif_frame(0, 0, np.zeros((32, 48), np.uint8))),
        Good(colours=(f.RED, WHITE, WHITE, WHITE), tolerance=2)),
    Case("gif cut", lambda: _cut(f.gif_of((96, 64), f.gif_frame(0, 0, _indices())), 0.5), Bad()),
    Case("gif without a frame", lambda: f.gif_of((96, 64)), Bad()),
    Case("gif header only", lambda: b"GIF89a\x60\x00\x40\x00\x00\x00\x00", Bad()),
    Case("GIF88a", lambda: b"GIF88a" + bytes(40), UNSUPPORTED),
    Case("gif bad code size", lambda: f.gif_of((96, 64), b"," + struct.pack("<HHHHB", 0, 0, 96, 64, 0) + b"\x63\x01\x00\x00"), Bad()),
    Case("gif 0x0", lambda: f.gif_of((0, 0), f.gif_frame(0, 0, _indices())), Bad()),
    Case("gif invalid codes", lambda: f.gif_of((96, 64), b"," + struct.pack("<HHHHB", 0, 0, 96, 64, 0) + b"\x02\x04\xff\xff\xff\xff\x00"), Either()),
    Case("gif frame outside its screen", lambda: f.gif_of((96, 64), f.gif_frame(500, 500, _indices())), Either()),
    Case("gif screen 65535x65535", lambda: f.gif_of((65535, 65535), f.gif_frame(0, 0, _indices())), TOO_LARGE),
    Case("gif frame of 144 MP on a small screen", lambda: f.gif_of((96, 64), f.gif_control(disposal=2),
        b"," + struct.pack("<HHHHB", 0, 0, 12000, 12000, 0) + b"\x02\x01\x04\x00"), TOO_LARGE),
    Case("gif 10,000 frames", lambda: f.gif_of((96, 64), f.gif_frame(0, 0, _indices()), f.gif_frame(0, 0, np.zeros((2, 2), np.uint8)) * 10_000), Good(tolerance=2)),
    Case("gif 100,000 comments", lambda: f.gif_of((96, 64), b"!\xfe\x02hi\x00" * 100_000, f.gif_frame(0, 0, _indices())), Either()),
    Case("gif endless comment", lambda: f.gif_of((96, 64))[:-1] + b"!\xfe" + b"\xffx" * 20_000, Bad()),
]


def _indices() -> np.ndarray:
    return np.array([[0, 1], [2, 3]], np.uint8).repeat(32, 0).repeat(48, 1)


OTHER = [
    Case("nothing", lambda: b"", Bad(("invalid_request",))),
    Case("one byte", lambda: b"\xff", UNSUPPORTED),
    Case("zeros", lambda: bytes(1000), UNSUPPORTED),
    Case("noise", lambda: np.random.default_rng(3).bytes(5000), UNSUPPORTED),
    Case("over 20 MiB", lambda: f.jpeg() + bytes(25_000_000), TOO_LARGE),
    *(Case(name, lambda kind=kind: f.saved(f.quadrants(), kind), UNSUPPORTED)
      for name, kind in (("tiff", "TIFF"), ("bmp", "BMP"), ("ico", "ICO"), ("avif", "AVIF"), ("jpeg 2000", "JPEG2000"),
                         ("ppm", "PPM"), ("tga", "TGA"), ("pcx", "PCX"), ("sgi", "SGI"), ("dds", "DDS"), ("icns", "ICNS"),
                         ("im", "IM"), ("pdf", "PDF"), ("eps", "EPS"), ("qoi", "QOI"))),
    *(Case(name, lambda data=data: data, UNSUPPORTED)
      for name, data in (
          ("heic stub", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"),
          ("mp4", b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"),
          ("big-endian tiff", b"MM\x00*\x00\x00\x00\x08" + bytes(40)),
          ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/x'/></svg>"),
          ("xml with entities", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>"),
          ("eps with a DOS header", b"\xc5\xd0\xd3\xc6" + bytes(60)),
          ("a url", b"http://127.0.0.1:8000/photo.jpg"),
          ("a path", b"/etc/hostname"),
          ("json", b'{"image": 1}'),
          ("html", b"<!DOCTYPE html><html></html>"),
          ("elf", b"\x7fELF" + bytes(60)),
          ("zip", b"PK\x03\x04" + bytes(60)),
          ("a pickle", b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."),
          ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(60)),
          ("jpeg xl", b"\xff\x0a" + bytes(60)),
          ("psd", b"8BPS\x00\x01" + bytes(60)),
          ("fits", b"SIMPLE  =                    T" + bytes(60)),
          ("xpm", b"/* XPM */ static char *x[] = {"),
          ("gzip of a jpeg", gzip.compress(f.jpeg())),
      )),
]
