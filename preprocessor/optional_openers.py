"""Readers of the formats that can be switched on, with everything left out that looks beyond the first picture's pixels."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from PIL import AvifImagePlugin, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.TiffImagePlugin import TiffImageFile

# a decoder has one core; threads would only take address space
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


class _Tiff(TiffImageFile):
    """Pillow's reader without its tour of all directories after the pixels; which way up is read from the first."""

    def _open(self) -> None:
        super()._open()
        # the pixels as they are stored: Pillow names the size after the turn, which it would make in `load_end`
        self._size = self._tile_size

    def load_end(self) -> None:
        pass


def _heic(file: io.BytesIO) -> ImageFile.ImageFile:
    import pillow_heif

    # no thumbnails, depth maps or auxiliary pictures: they would be parsed for nothing
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    pillow_heif.options.DECODE_THREADS = 1
    reader: Any = pillow_heif.HeifImageFile
    opened: ImageFile.ImageFile = reader(file)
    return opened


def load(formats: Collection[str]) -> None:
    """Import what reads these formats now: a decode process may not be able to later."""
    if "heic" in formats:
        importlib.import_module("pillow_heif")


OPENERS: Final[Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "heic": _heic,
    "tiff": _Tiff,
}
