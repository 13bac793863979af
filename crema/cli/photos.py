"""Which files `crema analyze` sends: those that are named, and the photos in folders that are named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".webp", ".gif")


def find_photos(named: Iterable[Path]) -> list[Path]:
    """Files as named, whatever they are called; in folders, and in theirs, those with a photo's suffix, in order of
    name. Hidden files and folders are left out, and what is no file, such as a pipe; linked folders are not entered. Each
    path once.

    Raises OSError for a folder that cannot be read: its photos would be missing unnoticed."""
    found: dict[Path, None] = {}
    for path in named:
        for photo in _in_folder(path) if path.is_dir() else [path]:
            found[photo] = None
    return list(found)


def _in_folder(root: Path) -> list[Path]:
    photos = []
    for folder, subfolders, names in os.walk(root, onerror=_raised):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        photos += [
            Path(folder, name)
            for name in sorted(names)
            if not name.startswith(".") and name.lower().endswith(SUFFIXES) and _ends(Path(folder, name))
        ]
    return photos


def _ends(path: Path) -> bool:
    """Whether reading it comes to an end: a pipe's or a device's may not. A link to nowhere is sent, and told of."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _raised(error: OSError) -> None:
    raise error
