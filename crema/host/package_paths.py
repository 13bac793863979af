"""The paths inside a model package: which a manifest may name, and the digest over all of its files.

Every path is relative and ends, links followed, inside the package's folder. Nothing here opens a file for writing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_SKIPPED_FOLDERS: Final = frozenset(
    {"__pycache__", ".git", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
_CHUNK_BYTES: Final = 1 << 20


class PathRefused(ValueError):
    """A path that a manifest may not name; the text says why."""


def inside(package_dir: Path, written: str) -> Path:
    """The file that `written` (a relative path with `/`) names inside `package_dir`. Raises PathRefused with the reason."""
    pure = PurePosixPath(written)
    if not written or "\0" in written or "\\" in written:
        raise PathRefused("must be a path with forward slashes")
    if pure.is_absolute():
        raise PathRefused("must be relative to the package's folder")
    if ".." in pure.parts:
        raise PathRefused("must stay inside the package's folder, without ..")
    root = package_dir.resolve()
    try:
        path = (root / pure).resolve(strict=True)
    except FileNotFoundError:
        raise PathRefused("there is no such file in the package's folder") from None
    except (OSError, RuntimeError) as error:
        raise PathRefused(f"cannot be followed: {getattr(error, 'strerror', None) or error}") from None
    if not path.is_relative_to(root):
        raise PathRefused("leads through a link out of the package's folder")
    if not path.is_file():
        raise PathRefused("must be a file")
    return root / pure


def package_files(package_dir: Path) -> Iterator[Path]:
    """The package's files in a fixed order, without bytecode and tools' caches. Linked folders are not entered."""
    for folder, subfolders, names in os.walk(package_dir):
        subfolders[:] = sorted(name for name in subfolders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if not name.endswith((".pyc", ".pyo")):
                yield Path(folder, name)


def package_digest(package_dir: Path) -> str:
    """sha256 (hex) over the paths and contents of all of the package's files: the same for equal packages anywhere."""
    total, root = hashlib.sha256(), package_dir.resolve()
    for path in package_files(package_dir):
        name = path.relative_to(package_dir).as_posix().encode("utf-8", "surrogateescape")
        total.update(len(name).to_bytes(4, "little") + name + _content(path, root).encode())
    return total.hexdigest()


def _content(path: Path, root: Path) -> str:
    """What stands for a file in the digest. Only files inside are read: a pipe or a device never ends."""
    # realpath: a link that leads to itself is followed as far as it goes, and is no error
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        return f"link {path.readlink()}"
    return file_sha256(path) if path.is_file() else f"mode {stat.S_IFMT(path.lstat().st_mode):o}"


def file_sha256(path: Path) -> str:
    """sha256 (hex) of one file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
