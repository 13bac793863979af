"""Pickles told by their bytes, whatever they are called and however they are packed. Nothing is ever unpickled here."""

from __future__ import annotations

import contextlib
import os
import pickletools
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

_SUFFIXES: Final = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill")
_HEAD_BYTES: Final = 1024
# so many operations in a row are no text
_ENOUGH_OPERATIONS: Final = 1000
_NUMPY: Final = b"\x93NUMPY"
_OBJECTS: Final = re.compile(rb"'[|<>=]?O'")


def looks_like_a_pickle(path: Path) -> bool:
    """Whether a file is or holds a pickle: by its name, its first bytes, those of a zip's members or of a numpy file of objects."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        if _is_binary(head) or _is_textual(head):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) == b"." and (_is_binary(head) or _parses(stream)):
                return True
    return _holds_objects(head) or _is_binary(_inflated(head)) or _zip_holds_one(path)


def _is_binary(head: bytes) -> bool:
    return len(head) >= 3 and head[0] == 0x80 and 2 <= head[1] <= 5


def _is_textual(head: bytes) -> bool:
    """Whether it may be of protocol 0 or 1: it begins with a mark, an empty container, a value or a global."""
    return head[:1] in b"(]})cISVFLUXTGJKMNi" and len(head) > 2


def _parses(stream: IO[bytes]) -> bool:
    """Whether all of a file, or its first thousand operations, are a pickle's."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        for count, (operation, _, at) in enumerate(pickletools.genops(stream)):
            if operation.name == "STOP":
                return at == size - 1
            if count >= _ENOUGH_OPERATIONS:
                return True
    except Exception:  # whatever a strange byte leads to: it is none
        return False
    return False


def _holds_objects(head: bytes) -> bool:
    return head.startswith(_NUMPY) and _OBJECTS.search(head) is not None


def _inflated(head: bytes) -> bytes:
    """The first bytes of what gzip or zlib packed; empty for anything else."""
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(wbits=47).decompress(head, 64)
    return b""


def _zip_holds_one(path: Path) -> bool:
    with contextlib.suppress(
        OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error
    ):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return any(_member_is_one(archive, member) for member in archive.infolist())
    return False


def _member_is_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if member.filename.lower().endswith(_SUFFIXES):
        return True
    if not member.filename.endswith(".npy"):
        return False
    with archive.open(member) as stream:
        return _holds_objects(stream.read(_HEAD_BYTES))


def has_code(path: Path) -> bool:
    """Whether a file is a zip with Python in it, which can be imported as it is."""
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith((".py", ".pyc")) for name in archive.namelist())
    return False
