"""Locking a package: requirements.in and crema's own base.in → `requirements.<profile>.lock`, pinned and hashed.

The `pypi` lock holds on every Linux, and for every Python from the oldest that the package allows; any other profile is
for builds of one kind (`cpu`, `cu130`) and holds for one Python release and this kind of processor. A lock never names a
machine, a folder or an index. Source distributions are not locked: building one runs its code.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from crema.host.manifest import read_python
from crema.host.python_requirement import PythonRequirement
from envs.clash import base_wishes, clash, package_wishes
from envs.lock_file import (
    BASE_REQUIREMENTS,
    REQUIREMENTS_NAME,
    LockFile,
    LockRefused,
    inputs_digest,
    is_profile,
    lock_path,
    wishes,
)
from envs.uv import PLAIN_PROFILE, CommandFailed, Progress, find_uv, milestones, run, shortened, sources

DEFAULT_PROFILES: Final = ("cpu", "pypi")
LOWEST_PYTHON: Final = 11
"""Python 3.11: the lowest that crema's own code runs on, in a model's virtualenv too."""
NEWEST_PYTHON: Final = 30


class LockError(Exception):
    """A lock could not be made; `str()` says why and what to do."""


def lock_package(
    package_dir: Path, profile: str, *, upgrade: bool = False, progress: Progress = lambda line: None
) -> Path:
    """Makes the lock of one profile and returns its path. Versions that are already locked stay, unless `upgrade`.

    Reads `python` from the package's manifest and so raises ManifestError; raises LockError when there is no
    resolution. Writes nothing unless all went well.
    """
    if not is_profile(profile):
        raise LockError(f"a profile's name is letters and digits, for instance cpu or pypi (got {profile!r})")
    uv = find_uv()
    if uv is None:
        raise LockError(
            "locking needs uv, which is neither beside this Python nor on PATH; install it with `pip install uv`"
        )
    requirement = PythonRequirement.parse(read_python(package_dir))
    python = lowest_python(requirement)
    try:
        inputs = inputs_digest(package_dir, requirement.text)
    except LockRefused as error:
        raise LockError(str(error)) from None
    wanted = (package_dir / REQUIREMENTS_NAME).read_text(encoding="utf-8-sig")
    _refuse_what_cannot_travel(wanted)
    target = lock_path(package_dir, profile)
    with tempfile.TemporaryDirectory(prefix="crema-lock-") as scratch:
        folder = Path(scratch)
        # uv names the files it read in its comments: in this folder they have no path.
        (folder / REQUIREMENTS_NAME).write_text(wanted, encoding="utf-8")
        (folder / BASE_REQUIREMENTS.name).write_bytes(BASE_REQUIREMENTS.read_bytes())
        if target.is_file() and not upgrade:
            (folder / "lock").write_bytes(target.read_bytes())
        _compile(uv, folder, profile, python, progress)
        body = (folder / "lock").read_text(encoding="utf-8")
    _refuse_cuda(profile, body)
    header = (
        "# Made by `crema lock`: edit requirements.in and lock again instead of editing this.\n"
        f"# profile: {profile}\n# python: {'>=' if profile == PLAIN_PROFILE else ''}{python}\n# inputs: sha256:{inputs}\n"
    )
    _write_whole(target, header + body)
    try:
        LockFile.read(target)
    except LockRefused as error:
        raise LockError(f"{error}; uv said nothing about it, so this is a bug of ours") from None
    return target


def lowest_python(requirement: PythonRequirement) -> str:
    """The oldest Python release, from 3.11 on, that the package allows: `3.11`. Raises LockError when there is none."""
    for minor in range(LOWEST_PYTHON, NEWEST_PYTHON):
        # A bound such as >=3.11.4 is met by some patch release, hence the second look.
        if requirement.allows((3, minor)) or requirement.allows((3, minor, 99)):
            return f"3.{minor}"
    raise LockError(
        f"no Python from 3.{LOWEST_PYTHON} on fits python: {requirement.text}; crema's worker needs 3.{LOWEST_PYTHON}"
    )


def _compile(uv: Path, folder: Path, profile: str, python: str, progress: Progress) -> None:
    """Runs uv in `folder`; leaves `lock` there."""
    origin = sources(profile)
    options = ["--python", sys.executable, "--python-version", python, "--only-binary", ":all:"]
    # Only the plain index has every platform's wheels; where builds for one processor lie beside it, uv would lock
    # another version of the same library for all others.
    options += ["--universal"] if profile == PLAIN_PROFILE else []
    headless = [
        "--no-progress",
        "--color",
        "never",
        "-o",
        "lock",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--generate-hashes",
    ]

    def compiled(*inputs: str) -> None:
        run(
            [uv, "pip", "compile", *headless, *options, *origin.arguments, *inputs],
            origin.environment,
            milestones(progress),
            folder,
        )

    def resolves(wish: str) -> bool:
        (folder / "one.in").write_text(wish, encoding="utf-8")
        try:
            compiled("one.in", BASE_REQUIREMENTS.name)
        except CommandFailed:
            return False
        return True

    try:
        compiled(REQUIREMENTS_NAME, BASE_REQUIREMENTS.name)
    except CommandFailed as failed:
        if not _names_a_base_wish(failed.output):
            try:
                compiled(REQUIREMENTS_NAME)
            except CommandFailed as alone:
                raise LockError(_no_resolution(profile, shortened(alone.output), origin.find_links)) from None
        raise LockError(clash(package_wishes(folder), shortened(failed.output), resolves)) from None


def _names_a_base_wish(said: str) -> bool:
    return any(f"require {wish}" in said or f"and {wish}" in said for wish in base_wishes())


def _no_resolution(profile: str, said: str, find_links: tuple[str, ...]) -> str:
    hint = "check the names and versions in requirements.in"
    if profile != PLAIN_PROFILE and not find_links:
        hint += f"; for builds that are not on the package index, set UV_FIND_LINKS or UV_INDEX to where those of {profile} are"
    return f"{profile}: requirements.in has no resolution by itself\n{said}\n  try: {hint}"


def _refuse_what_cannot_travel(wanted: str) -> None:
    for wish in wishes(wanted):
        if wish.startswith(("-", ".", "/")) or "://" in wish or wish.endswith((".whl", ".gz", ".zip")):
            raise LockError(
                f"requirements.in holds names with versions only, no options, addresses or files (got {wish[:80]})\n"
                "  try: name==version, and put the built wheel where find-links points"
            )


def _refuse_cuda(profile: str, body: str) -> None:
    if profile == "cpu" and re.search(r"^nvidia-", body, re.MULTILINE):
        raise LockError(
            "cpu: the resolution pulls in CUDA packages, because no CPU build was offered\n"
            "  try: set UV_FIND_LINKS (or PIP_FIND_LINKS) to a folder or page with CPU builds, or lock --profile pypi only"
        )


def _write_whole(path: Path, text: str) -> None:
    """Writes beside and renames: a reader sees the old lock or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
