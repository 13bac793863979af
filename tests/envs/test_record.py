"""Checking files against RECORD: a changed, missing or planted file is found and named."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from envs.record import check_records, site_packages


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtualenv's shape with one package of two files and a command."""
    site = tmp_path / "lib/python3.11/site-packages"
    (site / "shapes").mkdir(parents=True)
    (site / "shapes-2.0.dist-info").mkdir()
    (tmp_path / "bin").mkdir()
    files = {
        "shapes/__init__.py": b"version = '2.0'\n",
        "shapes/data.txt": b"round\n",
        "../../../bin/draw": b"#!/bin/sh\n",
    }
    lines = []
    for name, content in files.items():
        (site / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    lines += ["shapes/__pycache__/__init__.cpython-311.pyc,,", "shapes-2.0.dist-info/RECORD,,"]
    (site / "shapes-2.0.dist-info/RECORD").write_text("\n".join(lines) + "\n")
    (site / "_virtualenv.py").touch()
    return tmp_path


SITE = "lib/python3.11/site-packages"


def test_an_untouched_environment_has_no_problems(environment: Path) -> None:
    check = check_records(environment)
    assert check.problems == ()
    assert check.bytes == 32
    assert site_packages(environment) == environment / SITE


def test_one_changed_byte_is_found_and_named(environment: Path) -> None:
    (environment / SITE / "shapes/data.txt").write_bytes(b"rounD\n")
    assert check_records(environment).problems == (f"{SITE}/shapes/data.txt: was changed",)


def test_a_missing_file_is_found_and_named(environment: Path) -> None:
    (environment / SITE / "shapes/data.txt").unlink()
    assert check_records(environment).problems == (f"{SITE}/shapes/data.txt: is missing",)


def test_a_changed_command_is_found_and_a_missing_one_is_no_problem(environment: Path) -> None:
    (environment / "bin/draw").write_text("#!/bin/rm\n")
    assert check_records(environment).problems == ("bin/draw: was changed",)
    (environment / "bin/draw").unlink()
    assert check_records(environment).problems == ()


@pytest.mark.parametrize("name", ["sneaky.py", "sneaky.pth", "shapes/sneaky.so"])
def test_a_module_that_no_package_brought_is_found(environment: Path, name: str) -> None:
    (environment / SITE / name).touch()
    assert check_records(environment).problems == (f"{SITE}/{name}: belongs to no installed package",)


def test_bytecode_written_by_running_is_no_problem(environment: Path) -> None:
    (environment / SITE / "shapes/__pycache__").mkdir()
    (environment / SITE / "shapes/__pycache__/__init__.cpython-311.pyc").touch()
    assert check_records(environment).problems == ()


def test_a_weak_hash_does_not_count(environment: Path) -> None:
    record = environment / SITE / "shapes-2.0.dist-info/RECORD"
    record.write_text(record.read_text() + "shapes/data.txt,md5=x,6\n")
    assert check_records(environment).problems == (f"{SITE}/shapes/data.txt: has no hash that counts (md5)",)


def test_a_record_that_points_outside_is_a_problem(environment: Path) -> None:
    record = environment / SITE / "shapes-2.0.dist-info/RECORD"
    record.write_text(record.read_text() + "../../../../secret,sha256=x,6\n")
    (problem,) = check_records(environment).problems
    assert problem == "shapes-2.0.dist-info/RECORD: lists a file outside the environment: ../../../../secret"


def test_the_digest_follows_the_record_files(environment: Path) -> None:
    before = check_records(environment).digest
    record = environment / SITE / "shapes-2.0.dist-info/RECORD"
    record.write_text(record.read_text() + "\n")
    assert check_records(environment).digest != before


def test_a_folder_without_site_packages_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_records(tmp_path)
