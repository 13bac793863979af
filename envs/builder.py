"""Building virtualenvs: a package's hashed lock → an environment named by what the lock resolves to.

An environment is built aside, checked file by file and renamed into place; equal locks share one. What is built
already is used without the network. Nothing is installed without a matching hash, and no installer runs package code.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crema.host.manifest import read_python
from crema.host.python_requirement import PythonRequirement
from envs.interpreter import Interpreter, NoInterpreter, choose_interpreter, inspect
from envs.lock_file import LockFile, LockRefused, found_locks, lock_path
from envs.record import check_records
from envs.store import (
    BUILDING,
    Built,
    Marker,
    default_root,
    find_built,
    fingerprint,
    only_builder,
    put_in_place,
    remove_leftovers,
    write_marker,
)
from envs.uv import PLAIN_PROFILE, CommandFailed, Progress, find_uv, milestones, run, shortened, sources

_FIRST_PROFILES = ("cpu", PLAIN_PROFILE)
_SHOWN_PROBLEMS = 5


class BuildError(Exception):
    """An environment could not be built or chosen; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtualenv that is ready: run the worker with `python`."""

    python: Path
    fingerprint: str
    profile: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The lock and the interpreter that fit this machine. `passed_over`: why each profile before it did not."""

    lock: LockFile
    interpreter: Interpreter
    passed_over: tuple[str, ...]


def _silent(line: str) -> None:
    """Progress for nobody."""


def environment_for(
    package_dir: Path, *, profile: str | None = None, root: Path | None = None, progress: Progress = _silent
) -> Environment:
    """The environment of a package on this machine: chosen with `choose_profile`, built unless it is there.

    Says on `progress` which profile it took and why others were passed over. Raises BuildError or ManifestError.
    """
    choice = choose_profile(package_dir, profile=profile, root=root)
    for reason in choice.passed_over:
        progress(f"passed over {reason.splitlines()[0]}")
    progress(f"profile {choice.lock.profile}, Python {choice.interpreter}")
    return build_environment(choice.lock.path, python=choice.interpreter.path, root=root, progress=progress)


def choose_profile(package_dir: Path, *, profile: str | None = None, root: Path | None = None) -> Choice:
    """The first of the package's locks that can be installed here: cpu, pypi, then the others by name.

    `profile`, or CREMA_PROFILE in the environment, names the only one to try. A lock whose environment is built
    already is taken without looking further. Raises BuildError with the reasons when none can be installed.
    """
    root = (root or default_root()).absolute()
    try:
        interpreter = choose_interpreter(PythonRequirement.parse(read_python(package_dir)))
    except NoInterpreter as error:
        raise BuildError(str(error)) from None
    passed_over: list[str] = []
    for path in _profiles(package_dir, profile or os.environ.get("CREMA_PROFILE") or None):
        try:
            lock = LockFile.read(path)
            _check_release(lock, interpreter)
            if find_built(root, fingerprint(lock.content, interpreter.platform)) is None:
                _dry_run(lock, interpreter, root)
        except LockRefused as error:
            # never installed, and never a reason to install something else
            raise BuildError(str(error)) from None
        except _CannotInstall as error:
            passed_over.append(f"{lock.profile}: {error}")
        else:
            return Choice(lock, interpreter, tuple(passed_over))
    reasons = "\n".join(passed_over)
    raise BuildError(
        f"none of the locks of {package_dir.parent.name}@{package_dir.name} can be installed here\n{reasons}\n"
        "  try: set UV_FIND_LINKS (or PIP_FIND_LINKS) or UV_INDEX to where the builds of a profile are,"
        " CREMA_PROFILE to the one to take, or lock again with `crema lock`"
    )


def build_environment(
    lock: Path, *, python: Path | str = sys.executable, root: Path | None = None, progress: Progress = _silent
) -> Environment:
    """The environment of a lock, built unless it is there. Any number of processes may ask at once: one builds.

    Raises BuildError; then nothing was left behind. When it is there already, no network is used.
    """
    root = (root or default_root()).absolute()
    try:
        content, interpreter = LockFile.read(lock), inspect(Path(python))
        _check_release(content, interpreter)
        name = fingerprint(content.content, interpreter.platform)
        if (built := find_built(root, name)) is None:
            root.mkdir(parents=True, exist_ok=True)
            with only_builder(root, name, progress):
                if (built := find_built(root, name)) is None:  # nobody built it while we waited
                    built = _build(content, interpreter, root, name, progress)
    except (LockRefused, NoInterpreter, _CannotInstall) as error:
        raise BuildError(f"{lock.name}: {error}") from None
    except CommandFailed as failed:
        raise BuildError(f"{lock.name}: cannot be installed\n{shortened(failed.output)}") from None
    except OSError as error:
        raise BuildError(f"{lock.name}: {error}; look at the space and the rights of {root}") from None
    return Environment(built.python, name, content.profile)


class _CannotInstall(Exception):
    pass


def _profiles(package_dir: Path, only: str | None) -> list[Path]:
    if only is not None:
        return [lock_path(package_dir, only)]
    found = found_locks(package_dir)
    if not found:
        raise BuildError(
            f"{package_dir.parent.name}@{package_dir.name} has no lock; make it with `crema lock {package_dir}`"
        )
    first = [found.pop(profile) for profile in _FIRST_PROFILES if profile in found]
    return first + list(found.values())


def _check_release(lock: LockFile, interpreter: Interpreter) -> None:
    if not lock.allows(interpreter.release):
        raise _CannotInstall(f"was locked for Python {lock.python}, and this is {interpreter}")


def _dry_run(lock: LockFile, interpreter: Interpreter, root: Path) -> None:
    """Raises _CannotInstall with the installer's reasons when the lock has no builds for this machine."""
    with tempfile.TemporaryDirectory(prefix="crema-try-") as scratch:
        target = Path(scratch, "target")
        target.mkdir()
        try:
            _install(
                lock, Path(scratch), root, _silent, ["--target", str(target), "--dry-run"], interpreter.path
            )
        except CommandFailed as failed:
            raise _CannotInstall(f"cannot be resolved here\n{shortened(failed.output)}") from None


def _build(lock: LockFile, interpreter: Interpreter, root: Path, name: str, progress: Progress) -> Built:
    remove_leftovers(root, name)
    with tempfile.TemporaryDirectory(
        prefix=f"{BUILDING}{name}-", dir=root, ignore_cleanup_errors=True
    ) as scratch:
        staged = Path(scratch, "env")
        uv = find_uv()
        progress(f"building {name} with {'uv' if uv else 'pip'}: {len(lock.requirements)} packages")
        environment = sources(lock.profile).environment
        if uv is not None:
            # Nothing is told on success; the interpreter is always one that is here.
            run(
                [uv, "venv", "--quiet", "--relocatable", "--python", interpreter.path, staged],
                environment,
                _silent,
            )
        else:
            run([interpreter.path, "-m", "venv", "--without-pip", staged], environment, _silent)
        _install(lock, Path(scratch), root, progress, [], staged / "bin" / "python")
        if uv is None:
            _remove_scripts_of(staged)
        progress("checking every file against its hash")
        check = check_records(staged)
        if check.problems:
            shown = "\n".join(f"    {problem}" for problem in check.problems[:_SHOWN_PROBLEMS])
            raise _CannotInstall(
                f"{len(check.problems)} installed files are not what their packages promised\n{shown}\n"
                "  try: `uv cache clean`, because a file in uv's cache was probably edited through a hard link"
            )
        requirements = [f"{requirement.name}=={requirement.version}" for requirement in lock.requirements]
        release = ".".join(map(str, interpreter.release))
        marker = Marker(
            name,
            lock.profile,
            interpreter.platform,
            release,
            requirements,
            check.digest,
            check.files,
            check.bytes,
        )
        write_marker(staged, marker)
        put_in_place(root, staged, name)
    return Built(root / name, marker)


def _install(
    lock: LockFile, scratch: Path, root: Path, progress: Progress, options: list[str], python: Path
) -> None:
    """Installs exactly the lock, from the installer's cache when that has everything. Raises CommandFailed."""
    # A copy: what is installed is what was read, whatever happens to the package's file meanwhile.
    pinned = scratch / "requirements.lock"
    pinned.write_text(lock.content, encoding="utf-8")
    origin = sources(lock.profile)
    hashed = ["--require-hashes", "--only-binary", ":all:", *options, *origin.arguments]
    uv = find_uv()
    if uv is not None:
        command: list[str | Path] = [
            uv,
            "pip",
            "sync",
            "--python",
            python,
            "--link-mode",
            "hardlink",
            "--color",
            "never",
        ]
        command += [*_cache(uv, root), *hashed, pinned]
        try:
            run([*command, "--offline"], origin.environment, _silent)
        except CommandFailed:
            run(command, origin.environment, milestones(progress))
        return
    target = [] if "--target" in options else ["--python", str(python)]
    command = [
        sys.executable,
        "-m",
        "pip",
        *target,
        "install",
        "--no-deps",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    try:
        run([*command, *hashed, "-r", pinned], origin.environment, milestones(progress))
    except CommandFailed as failed:
        if "No module named pip" in failed.output:
            raise _CannotInstall(
                "neither uv nor pip is here\n  try: put uv beside this Python or on PATH"
            ) from None
        raise


def _cache(uv: Path, root: Path) -> list[str]:
    """uv's own cache, shared by everything on this machine, unless hard links cannot reach from it to `root`."""
    try:
        usual = Path(run([uv, "cache", "dir"], os.environ, _silent).strip())
        if _existing(usual).stat().st_dev == _existing(root).stat().st_dev:
            return []
    except (CommandFailed, OSError):
        pass
    return ["--cache-dir", str(root / ".cache")]


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _remove_scripts_of(staged: Path) -> None:
    """Deletes the commands that pip wrote: they name the folder they were built in, which is about to change."""
    first_line = re.compile(rb"#!.*" + re.escape(os.fsencode(staged)))
    for script in (staged / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            with script.open("rb") as stream:
                if first_line.match(stream.readline(4096)):
                    script.unlink()
