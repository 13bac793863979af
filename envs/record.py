"""Checking a virtualenv against its RECORD files: every installed file has the hash that its wheel promised.

Environments share their files through hard links, so a file edited in one is edited in all: this is what finds it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What an installer puts beside the packages itself.
_INSTALLERS_OWN: Final = frozenset({"_virtualenv.py", "_virtualenv.pth"})
_IMPORTABLE: Final = (".py", ".pth", ".so")
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """`problems`: one line per file that is wrong; `digest`: sha256 over all RECORD files; `files`, `bytes`: what was read."""

    problems: tuple[str, ...]
    digest: str
    files: int
    bytes: int


def site_packages(environment: Path) -> Path:
    """The folder of installed packages. Raises FileNotFoundError when the environment has none."""
    found = sorted(environment.glob("lib/python3.*/site-packages"))
    if not found:
        raise FileNotFoundError(f"{environment} has no lib/python3.*/site-packages")
    return found[0]


def check_records(environment: Path) -> RecordCheck:
    """Hashes every file that a RECORD lists, and looks for importable files that none lists. Reads all of it."""
    site = site_packages(environment)
    problems: list[str] = []
    total = hashlib.sha256()
    listed: set[Path] = set()
    files = size = 0
    for record in sorted(site.glob("*.dist-info/RECORD")):
        content = record.read_bytes()
        total.update(record.parent.name.encode() + b"\0" + content + b"\0")
        for row in csv.reader(content.decode("utf-8").splitlines()):
            if not row:
                continue
            path = Path(os.path.normpath(site / row[0]))
            listed.add(path)
            if not path.is_relative_to(environment):
                problems.append(
                    f"{record.parent.name}/RECORD: lists a file outside the environment: {row[0]}"
                )
                continue
            problem, read = _check(
                path, row[1] if len(row) > 1 else "", is_script=path.parent == environment / "bin"
            )
            files, size = files + 1, size + read
            if problem:
                problems.append(f"{path.relative_to(environment)}: {problem}")
    unlisted = (path for path in _importable(site) if path not in listed and path.name not in _INSTALLERS_OWN)
    problems.extend(f"{path.relative_to(environment)}: belongs to no installed package" for path in unlisted)
    return RecordCheck(tuple(problems), total.hexdigest(), files, size)


def _check(path: Path, promised: str, *, is_script: bool) -> tuple[str | None, int]:
    """(what is wrong or None, bytes read) for one listed file; RECORD itself and bytecode come without a hash."""
    if not promised:
        return None, 0
    algorithm, _, encoded = promised.partition("=")
    if algorithm not in ("sha256", "sha384", "sha512"):
        return f"has no hash that counts ({algorithm})", 0
    digest = hashlib.new(algorithm)
    size = 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        # Commands of packages are not needed to serve, and pip's hold the path of the folder they were built in.
        return (None if is_script else "is missing"), 0
    except OSError as error:
        return f"cannot be read: {error.strerror}", 0
    found = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    return (None if found == encoded else "was changed"), size


def _importable(site: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(site):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(_IMPORTABLE):
                yield Path(folder, name)
