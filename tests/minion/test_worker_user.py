"""A worker that root starts becomes somebody else, where that somebody may read what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minion import worker_user as module
from minion.worker_user import FIRST_ID, IDS, closed_place, worker_user


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "_can_become", lambda user: True)


def test_a_place_that_everybody_may_read_is_open(open_folder: Path) -> None:
    file = open_folder / "model.py"
    file.write_text("")
    file.chmod(0o644)
    assert closed_place(open_folder) is None
    assert closed_place(file) is None
    assert closed_place(open_folder / "not there") is None


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o754])
def test_a_folder_on_the_way_that_is_closed_is_named(open_folder: Path, mode: int) -> None:
    inner = open_folder / "inner"
    inner.mkdir()
    (inner / "model.py").write_text("")
    inner.chmod(mode)
    assert closed_place(inner / "model.py") == inner


def test_a_file_that_is_closed_is_named_also_behind_a_link(open_folder: Path) -> None:
    file, link = open_folder / "weights", open_folder / "link"
    file.write_text("")
    file.chmod(0o640)
    link.symlink_to(file)
    assert closed_place(link) == file


def test_a_folder_that_can_only_be_passed_through_is_on_the_way_and_no_place(open_folder: Path) -> None:
    inner = open_folder / "inner"
    inner.mkdir()
    (inner / "file").write_text("")
    (inner / "file").chmod(0o644)
    inner.chmod(0o711)
    assert closed_place(inner / "file") is None
    assert closed_place(inner) == inner


@pytest.mark.usefixtures("as_root")
def test_each_version_has_a_user_of_its_own(open_folder: Path) -> None:
    users = {worker_user("tags", version, [open_folder]) for version in ("3.1", "3.2", "4.0")}
    assert len(users) == 3
    assert all(user is not None and FIRST_ID <= user < FIRST_ID + IDS for user in users)
    assert worker_user("tags", "3.1", [open_folder]) in users


@pytest.mark.usefixtures("as_root")
def test_where_only_root_may_read_it_stays_root_s(open_folder: Path) -> None:
    open_folder.chmod(0o700)
    assert worker_user("tags", "3.1", [open_folder]) is None


def test_nobody_but_root_changes_users(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert worker_user("tags", "3.1", [open_folder]) is None


def test_a_process_that_may_not_change_its_user_stays(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", refused)
    assert worker_user("tags", "3.1", [open_folder]) is None


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can become somebody else")
def test_root_can_become_a_user_that_nobody_made() -> None:
    assert module._can_become(FIRST_ID)
