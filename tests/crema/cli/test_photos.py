"""Which files are sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crema.cli.photos import find_photos


def test_a_folder_gives_its_photos_and_those_below_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_photos([tmp_path])] == [
        "a.PNG",
        "b.jpg",
        "sub/c.webp",
    ]


def test_a_named_file_is_sent_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "photo").touch()
    assert find_photos([tmp_path / "photo"]) == [tmp_path / "photo"]


def test_a_photo_that_is_named_twice_is_sent_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert find_photos([tmp_path / "a.jpg", tmp_path]) == [tmp_path / "a.jpg"]


def test_a_linked_folder_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.jpg").touch()
    assert find_photos([tmp_path]) == [tmp_path / "a.jpg"]


def test_a_folder_that_cannot_be_read_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private").mkdir()
    scandir = os.scandir

    def refused(path: str) -> object:
        if path.endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(PermissionError):
        find_photos([tmp_path])


def test_a_pipe_in_a_folder_is_left_out_and_a_link_to_nowhere_is_told_of(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    assert find_photos([tmp_path]) == [tmp_path / "dangling.jpg"]
