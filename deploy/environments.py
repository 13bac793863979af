"""Environments: the Python that a version's worker is run by. What is built, and how, is `envs`' own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from crema.host.config import ResolvedVersion
from crema.host.development import PYTHON_VARIABLE, development_python

Result = TypeVar("Result")


class EnvironmentFailed(Exception):
    """A version's environment cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A Python to run a worker with; `words` say which lock profile it is of, and why that one."""

    python: Path
    profile: str | None
    words: str
    is_new: bool = False


class Environments(Protocol):
    """Where versions get their Python from."""

    async def python_of(self, version: ResolvedVersion, progress: Callable[[str], None]) -> Chosen:
        """The Python of a version, built when it is missing. `progress` is called on the loop with what is being done.

        Raises EnvironmentFailed.
        """


class OnePython:
    """The same Python for every version: for tests and development."""

    def __init__(self, python: Path) -> None:
        self._python = python

    async def python_of(self, version: ResolvedVersion, progress: Callable[[str], None]) -> Chosen:
        """The one Python. Raises EnvironmentFailed when it cannot be run."""
        if not os.access(self._python, os.X_OK):
            raise EnvironmentFailed(
                f"{PYTHON_VARIABLE} names {self._python}, which cannot be run; unset it to build environments"
            )
        return Chosen(self._python, None, f"{self._python} ({PYTHON_VARIABLE})")


class BuiltEnvironments:
    """Each version's own virtualenv, by the first of its locks that can be installed on this machine."""

    async def python_of(self, version: ResolvedVersion, progress: Callable[[str], None]) -> Chosen:
        """The Python of the version's virtualenv. Raises EnvironmentFailed."""
        loop = asyncio.get_running_loop()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(progress, line)

        return await _in_daemon_thread(lambda: _build(version.package_dir, tell))


def environments_here() -> Environments:
    """One Python when CREMA_ENV_PYTHON names it, else built virtualenvs."""
    python = development_python()
    return BuiltEnvironments() if python is None else OnePython(python)


def _build(package_dir: Path, progress: Callable[[str], None]) -> Chosen:
    from crema.host.manifest import ManifestError
    from envs.builder import BuildError, build_environment, choose_profile
    from envs.store import default_root, find_built, fingerprint

    progress("choosing a lock profile")
    try:
        choice = choose_profile(package_dir)
        name = fingerprint(choice.lock.content, choice.interpreter.platform)
        is_new = find_built(default_root(), name) is None
        built = build_environment(choice.lock.path, python=choice.interpreter.path, progress=progress)
    except (BuildError, ManifestError) as error:
        raise EnvironmentFailed(str(error)) from error
    passed_over = "".join(f"; passed over {reason.splitlines()[0]}" for reason in choice.passed_over)
    return Chosen(
        built.python,
        built.profile,
        f"environment {built.fingerprint[:8]}, profile {built.profile}{passed_over}",
        is_new,
    )


async def _in_daemon_thread(work: Callable[[], Result]) -> Result:
    """Run `work` beside the loop. When the caller is cancelled the thread is left to itself: it does not keep this
    process from ending, and its installer ends with it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(Result, result))

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as raised:
            result, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="environment").start()
    return await future
