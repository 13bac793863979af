"""The one decode function: an image file's bytes in, tensors out. Every failure is a CremaError with a code.

It trusts nothing: format by magic bytes, limits from the header before any pixel, the first frame only, metadata read
for orientation and colour and never echoed. It does not bound time or memory; the process around it does
(`preprocessor/decoder.py`), because only a process can be stopped.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngStream
from PIL.WebPImagePlugin import WebPImageFile

from crema.errors import CremaError
from crema.names import OptionalFormat
from preprocessor import colour
from preprocessor.header import FORMAT_NAMES, Format, ImageHeader, broken, check_pixels, read_header
from preprocessor.orientation import TAG, checked, is_turned, read_orientation
from preprocessor.spec import Spec
from preprocessor.transforms import Picture, draft_scale, render_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Cameras and encoders write about ten passes; a crafted file of 324 KB holds 3000 of them and takes 12 s.
MAX_JPEG_SCANS: Final = 256
_SCAN: Final = re.compile(b"\xff\xda")


class _Jpeg(JpegImageFile):
    """Pillow's reader, also for MPO (its first picture), without its search for a resolution in the EXIF data."""

    def _read_dpi_from_exif(self) -> None:
        pass


class _PngStream(PngStream):
    """Pillow's, without the texts in a PNG, which nobody asks for: they may unpack to 64 MB."""

    def _pass_over(self, pos: int, length: int) -> bytes:
        assert self.fp is not None
        return ImageFile._safe_read(self.fp, length)

    chunk_tEXt = chunk_zTXt = chunk_iTXt = _pass_over  # noqa: N815 - the names that a PNG has for them


class _Png(PngImageFile):
    """Pillow's reader, with our stream of chunks."""

    @property
    def png(self) -> PngStream | None:
        """Set by Pillow, which offers no other way to have a stream of one's own."""
        return self._png

    @png.setter
    def png(self, stream: PngStream | None) -> None:
        if stream is not None:
            stream.__class__ = _PngStream
        self._png = stream


Opener = Callable[[io.BytesIO], ImageFile.ImageFile]

_OPENERS: Final[dict[Format, Opener]] = {
    "jpeg": _Jpeg,
    "png": _Png,
    "webp": WebPImageFile,
    "gif": GifImageFile,
}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an answer says of the image: its format, and its dimensions after orientation."""

    format: Format
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """Pixels of one spec: uint8, rows top to bottom, without gaps."""

    spec: Spec
    data: bytes

    def as_array(self) -> NDArray[np.uint8]:
        """A read-only view of the pixels, uint8 [height, width, channels]."""
        import numpy as np  # here, because the decode processes need none of it and start the faster

        return np.frombuffer(self.data, np.uint8).reshape(self.spec.shape)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One tensor per spec, in the order asked for (equal specs share their memory), and what it took."""

    image: ImageInfo
    tensors: tuple[Tensor, ...]
    decode_ms: float
    resize_ms: float


def decode(
    data: bytes | bytearray | memoryview,
    specs: Sequence[Spec],
    profiles: colour.Profiles,
    formats: Collection[OptionalFormat] = (),
) -> Decoded:
    """Decode once, then one resize per distinct spec.

    `profiles` keeps colour transforms between calls; `formats` are those that are switched on. Raises CremaError:
    `invalid_request`, `image_too_large`, `unsupported_media_type`, `undecodable_image` (also for truncated images),
    `decode_timeout` (too many passes).
    """
    started = time.perf_counter()
    header = read_header(data, formats)
    if header.many_scans:
        _check_scans(data)
    try:
        picture = _decode(data, header, specs, profiles)
        decoded = time.perf_counter()
        pixels = render_all(picture, specs)
    except CremaError:
        raise
    except MemoryError:
        message = f"decoding {header.width}x{header.height} needs more memory than one image may have: scale it down first"
        raise CremaError("image_too_large", message) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CremaError(
            "image_too_large",
            "the image unpacks to far more pixels than it claims; open it in an editor and save it again",
        ) from None
    # Pillow's readers raise nearly every kind there is; nothing may pass this boundary
    except Exception as error:
        raise broken(_reason(error, header)) from None
    finished = time.perf_counter()
    width, height = picture.width, picture.height
    if is_turned(picture.orientation):
        width, height = height, width
    return Decoded(
        ImageInfo(header.format, width, height),
        tuple(Tensor(spec, pixels[spec]) for spec in specs),
        decode_ms=(decoded - started) * 1000,
        resize_ms=(finished - decoded) * 1000,
    )


def _decode(
    data: bytes | bytearray | memoryview,
    header: ImageHeader,
    specs: Sequence[Spec],
    profiles: colour.Profiles,
) -> Picture:
    source: Any = _opener(header.format)(io.BytesIO(data))
    # again, now as the decoder itself has understood the file: a frame of a GIF may be larger than its screen
    width, height = source.size
    check_pixels(width, height)
    if header.format == "png" and (width, height) != (header.width, header.height):
        raise broken("the PNG says twice what size it has")
    orientation = _orientation(source, header.format)
    profile = source.info.get("icc_profile")
    scale = 1
    if header.format == "jpeg":
        scale = draft_scale(specs, width, height, orientation)
        # JPEG keeps luma by itself; where no profile changes it, gray needs neither the colours nor their conversion
        is_luma_enough = (
            source.mode == "RGB"
            and all(spec.colour == "gray" for spec in specs)
            and profiles.to_srgb(profile, "RGB") is None
        )
        if scale > 1 or is_luma_enough:
            # asking for the floored size yields exactly this scale
            source.draft("L" if is_luma_enough else None, (width // scale, height // scale))
    frame = source.tile[0].extents if header.format == "gif" and source.tile else None
    # the whole file in one piece: readers that are fed bit by bit begin again at every piece
    source.decodermaxblock = max(source.decodermaxblock, len(data))
    source.load()
    if header.format == "png":
        # a PNG may carry its orientation after its pixels
        orientation = _orientation(source, header.format)
    pixels = colour.flatten(source, header.bit_depth)
    if frame is not None and frame != (0, 0, width, height):
        pixels = _on_white(pixels, frame)
    if pixels.mode == "CMYK":
        # ink to light is far from linear, so here the colours come before the resize
        transform = profiles.to_srgb(profile, "CMYK")
        pixels = pixels.convert("RGB") if transform is None else colour.apply(transform, pixels)
        return Picture(pixels, width, height, scale, orientation, None)
    return Picture(pixels, width, height, scale, orientation, profiles.to_srgb(profile, pixels.mode))


def _opener(found: Format) -> Opener:
    if found in _OPENERS:
        return _OPENERS[found]
    from preprocessor.optional_openers import OPENERS  # what is not switched on is not even imported

    return OPENERS[found]


def _orientation(source: Any, found: Format) -> int:
    """Which way up the pixels are stored, as far as the reader leaves turning them to us."""
    if found == "tiff":
        return checked(source.tag_v2.get(TAG))
    return read_orientation(source.info.get("exif"))


def _on_white(pixels: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """The part of the canvas that the first frame covers, the rest white."""
    paper = Image.new("RGB", pixels.size, colour.WHITE)
    paper.paste(pixels.crop(frame), frame[:2])
    return paper


def _check_scans(data: bytes | bytearray | memoryview) -> None:
    # Inside coded data 0xFF is always followed by 0x00 or a marker, so counting the marker's bytes is enough.
    for count, _ in enumerate(_SCAN.finditer(data), 1):
        if count > MAX_JPEG_SCANS:
            message = f"the JPEG is sent in more than {MAX_JPEG_SCANS} passes, which takes too long: save it as a baseline JPEG"
            raise CremaError("decode_timeout", message)


def _reason(error: Exception, header: ImageHeader) -> str:
    name = FORMAT_NAMES[header.format]
    # the text of Pillow's errors can quote the file's own bytes, so it is read but never passed on
    if isinstance(error, OSError) and "truncated" in str(error):
        return f"the {name} ends before its last row"
    return f"the {name} is damaged"
