"""Environments: where a version's Python comes from. Building is tested with `envs`; here it is replaced."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from crema.host.config import ResolvedVersion
from crema.host.development import PYTHON_VARIABLE
from deploy import environments
from deploy.environments import (
    BuiltEnvironments,
    Chosen,
    EnvironmentFailed,
    OnePython,
    environments_here,
)
from tests.deploy.toy_cluster import resolved, write_package


@pytest.fixture
def version(tmp_path: Path) -> ResolvedVersion:
    write_package(tmp_path, "toy")
    return resolved(tmp_path).models["toy"].versions[0]


def ignore(text: str) -> None:
    pass


def test_environments_are_built_unless_one_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    assert isinstance(environments_here(), BuiltEnvironments)
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert isinstance(environments_here(), OnePython)


async def test_one_python_serves_every_version(version: ResolvedVersion) -> None:
    chosen = await OnePython(Path(sys.executable)).python_of(version, ignore)
    assert (chosen.python, chosen.profile) == (Path(sys.executable), None)


async def test_a_python_that_cannot_be_run_is_a_failure(version: ResolvedVersion) -> None:
    with pytest.raises(EnvironmentFailed, match=PYTHON_VARIABLE):
        await OnePython(Path("/nonexistent")).python_of(version, ignore)


async def test_a_package_without_a_lock_fails_with_the_next_step(version: ResolvedVersion) -> None:
    with pytest.raises(EnvironmentFailed, match="crema lock"):
        await BuiltEnvironments().python_of(version, ignore)


async def test_a_build_tells_its_progress_on_the_loop(
    version: ResolvedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.get_ident()
    told: list[tuple[str, bool]] = []
    chosen = Chosen(Path("/e"), "cpu", "words")

    def build(package_dir: Path, progress: object) -> Chosen:
        progress("installing")  # type: ignore[operator]
        return chosen

    monkeypatch.setattr(environments, "_build", build)
    found = await BuiltEnvironments().python_of(
        version, lambda text: told.append((text, threading.get_ident() == here))
    )
    assert (found, told) == (chosen, [("installing", True)])


async def test_a_cancelled_build_is_not_waited_for(
    version: ResolvedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def build(package_dir: Path, progress: object) -> Chosen:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(30)
        return Chosen(Path("/e"), "cpu", "words")

    monkeypatch.setattr(environments, "_build", build)
    task = asyncio.create_task(BuiltEnvironments().python_of(version, ignore))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
