"""LockFile: one `requirements.<profile>.lock`, read: pinned, hashed requirements under a header of ours.

The header records what the lock was made from, so that it can say when it is stale. Reading refuses what an
installer would let pass: requirements without a hash, and options such as another index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUIREMENTS_NAME: Final = "requirements.in"
BASE_REQUIREMENTS: Final = Path(__file__).with_name("base.in")

_LOCK_NAME = re.compile(r"requirements\.([a-z0-9]+)\.lock\Z")
_PROFILE = re.compile(r"[a-z0-9]+\Z")
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})\Z")
_HEADER = re.compile(r"# (profile|python|inputs): (\S+)\s*\Z")
_PYTHON = re.compile(r"(>=)?3\.\d+\Z")


class LockRefused(Exception):
    """A lock that must not be installed; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One pinned requirement. `marker` is empty when it holds everywhere; `hashes` are `sha256:…`, sorted."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n    ".join([text, *(f"--hash={digest}" for digest in self.hashes)])


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock's content. `inputs` is the digest that it records (None when the header has none)."""

    path: Path
    profile: str
    python: str | None
    inputs: str | None
    requirements: tuple[Requirement, ...]

    @classmethod
    def read(cls, path: Path) -> LockFile:
        """Raises LockRefused for a lock that is not there, is not pinned and hashed throughout, or holds options."""
        named = _LOCK_NAME.match(path.name)
        if named is None:
            raise LockRefused(
                f"{path.name} is not a lock's name; locks are called requirements.<profile>.lock"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LockRefused(
                f"there is no {path.name} in {path.parent.name}; make it with `crema lock`"
            ) from None
        except (OSError, ValueError) as error:
            raise LockRefused(f"{path.name} cannot be read: {error}") from None
        header = {match[1]: match[2] for match in map(_HEADER.match, text.splitlines()) if match}
        if _PYTHON.match(header.get("python", "3.11")) is None:
            raise LockRefused(
                f"{path.name}: its header's `python` is not a release; make it anew with `crema lock`"
            )
        requirements = tuple(_requirement(path.name, number, line) for number, line in _logical_lines(text))
        if (twice := _pinned_twice(requirements)) is not None:
            raise LockRefused(f"{path.name} pins {twice} twice; make it anew with `crema lock`")
        if not requirements:
            raise LockRefused(f"{path.name} holds no requirements; make it anew with `crema lock`")
        return cls(path, named[1], header.get("python"), header.get("inputs"), requirements)

    @property
    def content(self) -> str:
        """The requirements alone, in a fixed order and form: equal for locks that install the same."""
        return "\n".join(sorted(map(str, self.requirements))) + "\n"

    def allows(self, release: tuple[int, ...]) -> bool:
        """Whether it holds for this Python: `# python: 3.11` for that minor release only, `>=3.11` also for later ones."""
        if self.python is None:
            return True
        wanted = tuple(int(number) for number in self.python.removeprefix(">=").split("."))
        return release[:2] >= wanted if self.python.startswith(">=") else release[:2] == wanted

    def is_stale(self, package_dir: Path, python: str) -> bool:
        """Whether requirements.in, envs/base.in or the manifest's `python` changed since the lock was made."""
        return self.inputs != f"sha256:{inputs_digest(package_dir, python)}"


def is_profile(text: str) -> bool:
    """Whether `text` may name a lock profile: letters and digits."""
    return _PROFILE.match(text) is not None


def lock_path(package_dir: Path, profile: str) -> Path:
    """Where the lock of a profile lies."""
    return package_dir / f"requirements.{profile}.lock"


def found_locks(package_dir: Path) -> dict[str, Path]:
    """The locks that a package brings: profile → file, sorted by profile."""
    matches = (
        (_LOCK_NAME.match(path.name), path) for path in sorted(package_dir.glob("requirements.*.lock"))
    )
    return {match[1]: path for match, path in matches if match}


def wishes(text: str) -> list[str]:
    """The requirements of a `.in` file, without comments and empty lines."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def inputs_digest(package_dir: Path, python: str) -> str:
    """sha256 (hex) over what a lock depends on: requirements.in, envs/base.in and `python`.

    Of the package's own file every line counts, whatever ends it; of base.in no comment, so that a word of ours makes nobody's
    lock stale.
    """
    digest = hashlib.sha256()
    for lines in (_read(package_dir / REQUIREMENTS_NAME).splitlines(), wishes(_read(BASE_REQUIREMENTS))):
        digest.update("\n".join(lines).encode() + b"\0")
    digest.update(python.encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise LockRefused(f"{path.name} cannot be read ({error}); write it, or an empty file") from None


def _pinned_twice(requirements: tuple[Requirement, ...]) -> str | None:
    """A name that is pinned more than once for the same surroundings: an installer would take either."""
    seen: set[tuple[str, str]] = set()
    for wanted in requirements:
        key = (re.sub(r"[-_.]+", "-", wanted.name), wanted.marker)
        if key in seen:
            return wanted.name
        seen.add(key)
    return None


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """(number of the first line, text) with continued lines joined, comments and empty lines left out."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not joined:
            first = number
        joined += " " + stripped.removesuffix("\\").strip()
        if not stripped.endswith("\\"):
            yield first, joined.strip()
            joined = ""
    if joined:
        yield first, joined.strip()


def _requirement(file: str, number: int, line: str) -> Requirement:
    wanted, *options = re.split(r"\s+(?=--)", line)
    if wanted.startswith("-"):
        raise LockRefused(
            f"{file}:{number}: a lock holds requirements only, no options (got {wanted.split()[0]}); lock again"
        )
    pinned, _, marker = wanted.partition(";")
    match = _PINNED.fullmatch(pinned.strip())
    if match is None:
        raise LockRefused(
            f"{file}:{number}: not pinned as NAME==VERSION (got {wanted[:80]}); make it with `crema lock`"
        )
    hashes = [_HASH.match(option) for option in options]
    if not hashes or not all(hashes):
        raise LockRefused(f"{file}:{number}: {match[0]} has no sha256 hash; make the lock with `crema lock`")
    digests = tuple(sorted({digest[1] for digest in hashes if digest}))
    return Requirement(match[1].lower(), match[2], " ".join(marker.split()), digests)
