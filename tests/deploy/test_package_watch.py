"""PackageWatch: a folder is new once nothing in it changes any more, in virtual time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from crema.host.packages import PackageFolder
from deploy.package_watch import PackageWatch
from tests.deploy.toy_cluster import write_package


class Seen:
    """A watch over `folder`/model_packages, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "model_packages"
        self.root.mkdir(exist_ok=True)
        self.new: list[str] = []
        self.gone: list[str] = []
        self.odd: list[list[str]] = []
        self.watch = PackageWatch(self.root, self._is_new, self.gone.append, self._is_odd)

    def _is_new(self, folder: PackageFolder) -> None:
        self.new.append(folder.label)

    def _is_odd(self, odd: Mapping[Path, str]) -> None:
        self.odd.append(sorted(path.relative_to(self.root).as_posix() for path in odd))

    def look(self, *times: float) -> list[str]:
        for now in times:
            self.watch.look(now)
        return self.new


def test_what_lies_there_at_the_start_is_not_new(tmp_path: Path) -> None:
    write_package(tmp_path, "toy")
    assert Seen(tmp_path).look(0.0, 5.0, 10.0) == []


def test_a_folder_is_new_once_it_was_still_for_a_second(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    write_package(tmp_path, "toy", "1.1")
    assert seen.look(10.0, 10.9) == []
    assert seen.look(11.0, 12.0, 13.0) == ["toy@1.1"]


def test_a_copy_that_goes_on_begins_the_second_anew(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    write_package(tmp_path, "toy", "1.1")
    seen.look(10.0)
    (seen.root / "toy" / "1.1" / "weights.bin").write_bytes(b"1")
    assert seen.look(10.9, 11.5) == []
    assert seen.look(11.9) == ["toy@1.1"]


def test_folders_that_no_version_can_be_called_after_are_told_once_and_again_when_they_change(
    tmp_path: Path,
) -> None:
    seen = Seen(tmp_path)
    write_package(tmp_path, "toy")
    (seen.root / "toy" / "1.0").rename(seen.root / "toy" / "v1")
    assert seen.look(1.0, 2.0, 3.0) == []
    (seen.root / "toy" / "v1").rename(seen.root / "toy" / "1.0")
    assert seen.look(4.0, 5.0) == ["toy@1.0"]
    assert seen.odd == [["toy/v1"], []]


def test_a_folder_that_changed_is_new_again(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    write_package(tmp_path, "toy", "1.1")
    seen.look(10.0, 11.0)
    (seen.root / "toy" / "1.1" / "model.py").write_text("class Toy:\n    repaired = True\n")
    assert seen.look(20.0, 21.0) == ["toy@1.1", "toy@1.1"]


def test_bytecode_changes_nothing(tmp_path: Path) -> None:
    write_package(tmp_path, "toy")
    seen = Seen(tmp_path)
    (seen.root / "toy" / "1.0" / "__pycache__").mkdir()
    (seen.root / "toy" / "1.0" / "__pycache__" / "model.pyc").write_bytes(b"1")
    assert seen.look(10.0, 11.0) == []


def test_a_folder_that_is_removed_is_gone(tmp_path: Path) -> None:
    write_package(tmp_path, "toy")
    seen = Seen(tmp_path)
    shutil.rmtree(seen.root / "toy" / "1.0")
    seen.look(10.0)
    assert seen.gone == ["toy@1.0"]


@pytest.mark.parametrize("is_moved", [True, False])
async def test_it_sees_a_folder_that_is_copied_or_moved_in(tmp_path: Path, is_moved: bool) -> None:
    seen = Seen(tmp_path)
    seen.watch = PackageWatch(seen.root, seen._is_new, seen.gone.append, settle_s=0.1)
    write_package(tmp_path / "elsewhere", "toy", "1.1")
    running = asyncio.create_task(seen.watch.run())
    try:
        await asyncio.sleep(0)
        bring = shutil.move if is_moved else shutil.copytree
        bring(tmp_path / "elsewhere" / "model_packages" / "toy", seen.root / "toy")
        async with asyncio.timeout(10):
            while not seen.new:
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert seen.new == ["toy@1.1"]
