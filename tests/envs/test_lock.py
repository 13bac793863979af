"""Locking: what stands in a lock, when it is stale, and what is said when there is no resolution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crema.host.manifest import read_python
from crema.host.python_requirement import PythonRequirement
from envs.clash import project_name
from envs.lock import LockError, lock_package, lowest_python
from envs.lock_file import LockFile, LockRefused, lock_path

if TYPE_CHECKING:
    from conftest import Workshop


def names(path: Path) -> list[str]:
    return [f"{requirement.name}=={requirement.version}" for requirement in LockFile.read(path).requirements]


def test_a_lock_pins_the_package_s_wishes_and_crema_s_own(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0", needs=("colours>=1",))
    workshop.wheel("colours", "1.4")
    package = workshop.package("tags", "3.1", "# what the model needs\nshapes>=1\n")
    assert names(lock_path(package, "cpu")) == ["colours==1.4", "msgpack==1.30", "numpy==1.30", "shapes==2.0"]


def test_every_requirement_of_a_lock_has_a_hash(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    assert all(requirement.hashes for requirement in LockFile.read(lock_path(package, "cpu")).requirements)


@pytest.mark.parametrize("profile", ["cpu", "pypi"])
def test_a_lock_names_no_folder_and_no_index(workshop: Workshop, profile: str) -> None:
    text = lock_path(workshop.package("tags", "3.1", "", profiles=(profile,)), profile).read_text()
    assert "/" not in text.replace(" -r requirements.in", "").replace(" -r base.in", "")
    assert "index" not in text
    assert "find-links" not in text


def test_a_lock_s_header_says_what_it_was_made_from(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", python=">=3.12,<3.14", profiles=("cpu", "pypi"))
    header = lock_path(package, "cpu").read_text().splitlines()[:4]
    assert header[1:3] == ["# profile: cpu", "# python: 3.12"]
    assert header[3].startswith("# inputs: sha256:")
    assert "# python: >=3.12" in lock_path(package, "pypi").read_text()


def test_only_the_plain_profile_looks_past_the_find_links_folder(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0+cpu", on_index=False)
    workshop.wheel("shapes", "2.0", in_folder=False)
    package = workshop.package("tags", "3.1", "shapes==2.0\n", profiles=("cpu", "pypi"))
    assert "shapes==2.0+cpu" in names(lock_path(package, "cpu"))
    assert "shapes==2.0" in names(lock_path(package, "pypi"))


def test_locking_again_keeps_what_is_locked_unless_told_to_upgrade(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    package = workshop.package("tags", "3.1", "shapes\n")
    workshop.wheel("shapes", "2.1")
    assert "shapes==2.0" in names(lock_package(package, "cpu"))
    assert "shapes==2.1" in names(lock_package(package, "cpu", upgrade=True))


def test_locking_needs_of_the_manifest_only_its_python(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    assert "entrypoint" not in (package / "model.yaml").read_text()


def test_a_clash_with_crema_s_own_wishes_names_both_sides(workshop: Workshop) -> None:
    with pytest.raises(LockError) as caught:
        workshop.package("tags", "3.1", "numpy<1.20\n")
    said = str(caught.value)
    assert said.startswith("requirements.in and crema's own envs/base.in exclude each other\n")
    assert "  the package wants  numpy<1.20   (its requirements.in)\n" in said
    assert "  crema needs        numpy>=1.24   (envs/base.in)\n" in said


def test_a_clash_through_a_dependency_names_what_is_excluded(workshop: Workshop) -> None:
    workshop.wheel("numpy", "1.20")
    workshop.wheel("colours", "1.0")
    workshop.wheel("shapes", "2.0", needs=("numpy<1.24",))
    with pytest.raises(LockError) as caught:
        workshop.package("tags", "3.1", "colours\nshapes\n")
    said = str(caught.value)
    assert "  the package wants  shapes   (its requirements.in), and that excludes the next line\n" in said
    assert "  crema needs        numpy>=1.24   (envs/base.in)\n" in said
    assert "colours" not in said.splitlines()[1]


def test_a_wish_that_nobody_offers_is_the_package_s_own_mistake(workshop: Workshop) -> None:
    with pytest.raises(LockError, match=r"^cpu: requirements\.in has no resolution by itself\n(?s:.*)shapes"):
        workshop.package("tags", "3.1", "shapes==9\n")


def test_a_failed_lock_leaves_the_old_one(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    before = lock_path(package, "cpu").read_bytes()
    (package / "requirements.in").write_text("shapes\n")
    with pytest.raises(LockError):
        lock_package(package, "cpu")
    assert lock_path(package, "cpu").read_bytes() == before
    assert sorted(path.name for path in package.iterdir()) == [
        "model.yaml",
        "requirements.cpu.lock",
        "requirements.in",
    ]


@pytest.mark.parametrize(
    "wish", ["-r other.txt", "--index-url x", "./shapes.whl", "shapes @ https://example.com/shapes.whl"]
)
def test_wishes_that_only_work_on_one_machine_are_refused(workshop: Workshop, wish: str) -> None:
    with pytest.raises(LockError, match=r"names with versions only"):
        workshop.package("tags", "3.1", f"{wish}\n")


def test_a_cpu_lock_with_cuda_packages_is_refused(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0", needs=("nvidia-cublas",))
    workshop.wheel("nvidia_cublas", "1.0")
    with pytest.raises(LockError, match="no CPU build was offered"):
        workshop.package("tags", "3.1", "shapes\n")


def test_a_profile_s_name_is_letters_and_digits(workshop: Workshop) -> None:
    with pytest.raises(LockError, match="letters and digits"):
        workshop.package("tags", "3.1", "", profiles=("../cpu",))


def test_a_lock_is_stale_when_requirements_in_or_the_python_changed(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    package = workshop.package("tags", "3.1", "shapes\n")
    lock, python = LockFile.read(lock_path(package, "cpu")), read_python(package)
    assert not lock.is_stale(package, python)
    (package / "requirements.in").write_bytes(b"\xef\xbb\xbfshapes\r\n")  # as some editors save it
    assert not lock.is_stale(package, python)
    for changed in ("shapes<3\n", "shapes  # the fast one\n"):
        (package / "requirements.in").write_text(changed)
        assert lock.is_stale(package, python)
    (package / "requirements.in").write_text("shapes\n")
    assert lock.is_stale(package, f"{python},<3.13")


@pytest.mark.parametrize(
    ("requirement", "lowest"),
    [(">=3.11,<3.13", "3.11"), (">=3.8", "3.11"), (">=3.12.4", "3.12"), ("==3.13.*", "3.13")],
)
def test_a_lock_is_resolved_for_the_oldest_python_that_fits(requirement: str, lowest: str) -> None:
    assert lowest_python(PythonRequirement.parse(requirement)) == lowest


def test_a_python_that_crema_does_not_run_on_is_refused() -> None:
    with pytest.raises(LockError, match=r"no Python from 3\.11 on fits python: <3\.11"):
        lowest_python(PythonRequirement.parse("<3.11"))


def test_names_are_compared_as_indexes_do() -> None:
    assert project_name("Foo.Bar_x[extra]>=1") == "foo-bar-x"


HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("numpy==1.26.4", r"requirements\.cpu\.lock:1: numpy==1\.26\.4 has no sha256 hash"),
        ("numpy==1.26.4 --hash=md5:00", "has no sha256 hash"),
        (f"numpy>=1.26 --hash={HASH}", "not pinned as NAME==VERSION"),
        (f"numpy @ https://example.com/numpy.whl --hash={HASH}", "not pinned as NAME==VERSION"),
        ("--index-url https://example.com", "no options"),
        ("-e .", "no options"),
        ("# nothing", "holds no requirements"),
    ],
)
def test_a_lock_that_must_not_be_installed_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "requirements.cpu.lock"
    path.write_text(line + "\n")
    with pytest.raises(LockRefused, match=reason):
        LockFile.read(path)


def test_a_lock_s_content_does_not_depend_on_order_comments_or_header(tmp_path: Path) -> None:
    one, two = tmp_path / "requirements.cpu.lock", tmp_path / "requirements.pypi.lock"
    one.write_text(f"# profile: cpu\nb==1 \\\n    --hash={HASH}\n    # via a\na==1 --hash={HASH}\n")
    two.write_text(f"a==1 \\\n  --hash={HASH}\n\nB==1 --hash={HASH}\n")
    assert LockFile.read(one).content == LockFile.read(two).content
