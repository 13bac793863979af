"""Package intake: what `crema release PKG` means, and how a package comes into the packages folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.package_intake import meant, take_in
from deploy.pointers import ReleaseRefused
from tests.deploy.toy_cluster import write_package


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    write_package(tmp_path, "toy", "1.0")
    write_package(tmp_path, "toy", "1.10")
    write_package(tmp_path / "rnd", "toy", "1.11")
    return tmp_path / "model_packages"


def test_a_package_is_meant_by_its_folder_its_selector_or_its_name(packages: Path) -> None:
    assert meant(str(packages / "toy" / "1.0"), packages).name == "1.0"
    assert meant("toy@1.0", packages).name == "1.0"
    assert meant("toy", packages).name == "1.10"
    with pytest.raises(ReleaseRefused, match="neither a folder"):
        meant("toy@7.0", packages)


def test_a_package_that_lies_there_stays_where_it_is(packages: Path) -> None:
    folder = take_in(packages / "toy" / "1.0", packages)
    assert (folder.label, folder.path) == ("toy@1.0", packages / "toy" / "1.0")


def test_a_package_from_elsewhere_is_copied_whole(packages: Path) -> None:
    source = packages.parent / "rnd" / "model_packages" / "toy" / "1.11"
    (source / "__pycache__").mkdir()
    folder = take_in(source, packages)
    assert folder.path == packages / "toy" / "1.11"
    assert sorted(each.name for each in folder.path.iterdir()) == [
        "model.py",
        "model.yaml",
        "one.json",
        "one.npy",
    ]
    assert sorted(each.name for each in (packages / "toy").iterdir()) == ["1.0", "1.10", "1.11"]
    assert take_in(source, packages) == folder


def test_a_version_that_is_there_with_other_files_is_refused(packages: Path) -> None:
    source = packages.parent / "rnd" / "model_packages" / "toy" / "1.11"
    folder = take_in(source, packages)
    (source / "model.py").write_text("class Toy: changed = True\n")
    with pytest.raises(ReleaseRefused, match="a version never changes"):
        take_in(source, packages)
    assert folder.path.joinpath("model.py").read_text() == "class Toy: pass\n"


def test_a_folder_that_is_not_called_like_a_package_is_refused(packages: Path) -> None:
    odd = packages.parent / "work"
    odd.mkdir()
    with pytest.raises(ReleaseRefused, match="NAME/VERSION"):
        take_in(odd, packages)
