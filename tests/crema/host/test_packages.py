"""Finding packages by their folders' names."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.packages import find_packages


def put(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "model.yaml").write_text("not read here")


def test_versions_are_sorted_by_number(tmp_path: Path) -> None:
    put(tmp_path, "tags/3.10", "tags/3.9", "tags/2.11")
    packages = find_packages(tmp_path)
    assert packages.versions("tags") == ("2.11", "3.9", "3.10")
    newest = packages.newest("tags")
    assert newest is not None
    assert newest.label == "tags@3.10"
    assert newest.path == tmp_path / "tags/3.10"
    assert newest.manifest_shown_as == "tags/3.10/model.yaml"


def test_folders_without_a_manifest_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "tags/3.1", ".hidden/1.0", "tags/__pycache__")
    (tmp_path / "scenes/parts").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    packages = find_packages(tmp_path)
    assert list(packages.by_name) == ["tags"]
    assert packages.odd == ()


def test_a_manifest_in_a_folder_that_names_no_version_is_reported(tmp_path: Path) -> None:
    put(tmp_path, "tags/wip", "Tags/3.1", "tags/3.1")
    packages = find_packages(tmp_path)
    assert packages.versions("tags") == ("3.1",)
    assert [path.relative_to(tmp_path).as_posix() for path, _ in packages.odd] == ["Tags/3.1", "tags/wip"]


def test_all_packages_come_by_name_and_from_oldest_to_newest(tmp_path: Path) -> None:
    put(tmp_path, "tags/3.10", "tags/3.9", "captions/1.0")
    assert [folder.label for folder in find_packages(tmp_path).all] == [
        "captions@1.0",
        "tags@3.9",
        "tags@3.10",
    ]


def test_one_version_is_found_by_name_and_version(tmp_path: Path) -> None:
    put(tmp_path, "tags/3.1")
    packages = find_packages(tmp_path)
    assert packages.find("tags", "3.1") is not None
    assert packages.find("tags", "3.2") is None
    assert packages.find("captions", "3.1") is None
    assert packages.newest("captions") is None


def test_a_folder_that_is_missing_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_packages(tmp_path / "nowhere")
