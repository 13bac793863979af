"""The routing file as Kubernetes mounts a ConfigMap: a link to a link, of which the second is swapped."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from coordinator import keys as keys_module
from coordinator.directory import Directory
from coordinator.keys import KeyRing
from crema.errors import CremaError
from crema.host.key_file import KeyFile, now_utc
from tests.coordinator.stub_tiers import card, model_row, version_row, write_routing


class Mounted:
    """A folder in which one file is published as the kubelet does: whole folders, and one link that is renamed over."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._folder = folder
        self._count = 0

    def publish(self, written: Path) -> None:
        """Make the file's content what `written` holds now."""
        self._count += 1
        fresh = self._folder / f"..2026_01_01_00_00_{self._count:02}"
        fresh.mkdir(parents=True)
        shutil.copy(written, fresh / self.path.name)
        data = self._folder / "..data"
        before = data.readlink() if data.is_symlink() else None
        new = self._folder / "..data_tmp"
        new.symlink_to(fresh.name)
        new.replace(data)
        if before is None:
            self.path.symlink_to(Path("..data", self.path.name))
        else:
            shutil.rmtree(self._folder / before)


def routing(path: Path, version: str) -> Path:
    rows = {"tags": model_row(version, {version: version_row([], card("tags", version, output="tags"))})}
    write_routing(path, rows, [], [])
    return path


@contextlib.asynccontextmanager
async def followed(run: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While what follows a file does so. Whoever looks at the result does it within five seconds."""
    running = asyncio.create_task(run)
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_swapped_config_map_comes_into_force(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path / "mount", "routing.json")
    mounted.publish(routing(tmp_path / "written.json", "3.1"))
    directory = Directory(mounted.path)

    def served() -> str | None:
        return directory.models["tags"].default.version_text if directory.models else None

    async with followed(directory.run()):
        for version in ("3.1", "3.2", "3.3"):
            mounted.publish(routing(tmp_path / "written.json", version))
            while served() != version:
                await asyncio.sleep(0.01)
    await directory.close()


async def test_a_swapped_secret_takes_its_keys_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "WATCH_EVERY_S", 0.01)
    file = KeyFile(tmp_path / "written.json")
    file.new("app", ["infer"], now_utc())
    mounted = Mounted(tmp_path / "mount", "keys.json")
    mounted.publish(file.path)
    ring = KeyRing(mounted.path)
    ring.read()
    _, second = file.new("app", ["infer"], now_utc())
    mounted.publish(file.path)

    def is_known() -> bool:
        with contextlib.suppress(CremaError):
            return ring.recognise({"X-API-Key": second}) is not None
        return False

    async with followed(ring.run()):
        while not is_known():
            await asyncio.sleep(0.01)
