"""Reports of checks: found for exactly the files that were checked, and for no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from check.report import Report
from crema.host.check_reports import has_passed, reports_folder
from crema.host.package_paths import package_digest
from tests.check.package_maker import write_package


def report_of(package: Path) -> Report:
    return Report(
        str(package), "bright", "1.0", package_digest(package), "0.1", True, (), "2026-01-01T00:00:00+00:00"
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CREMA_ENV_PYTHON", raising=False)
    return write_package(tmp_path / "packages")


def test_a_stored_report_is_found(package: Path) -> None:
    report_of(package).store()
    assert has_passed(package_digest(package))


def test_a_package_that_was_never_checked_has_not_passed(package: Path) -> None:
    assert not has_passed(package_digest(package))


def test_a_changed_file_has_no_report(package: Path) -> None:
    report_of(package).store()
    (package / "model.py").write_text("# other")
    assert not has_passed(package_digest(package))


def test_an_equal_package_elsewhere_shares_the_report(package: Path, tmp_path: Path) -> None:
    report_of(package).store()
    assert has_passed(package_digest(write_package(tmp_path / "copy")))


def test_bytecode_changes_no_digest(package: Path) -> None:
    report_of(package).store()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    assert has_passed(package_digest(package))


def test_a_cluster_s_state_folder_holds_it_too(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".crema"
    path = report_of(package).store(state)
    assert path.parent == state / "checks"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert not has_passed(package_digest(package))
    assert has_passed(package_digest(package), state)


def test_reports_of_a_development_python_lie_apart(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREMA_ENV_PYTHON", "/usr/bin/python3")
    report_of(package).store()
    assert has_passed(package_digest(package))
    monkeypatch.delenv("CREMA_ENV_PYTHON")
    assert not has_passed(package_digest(package))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"steps": [{}]}', "null"])
def test_a_file_that_is_no_report_says_nothing(package: Path, content: str) -> None:
    folder = reports_folder(None)
    folder.mkdir(parents=True)
    (folder / f"{package_digest(package)}.json").write_text(content)
    assert not has_passed(package_digest(package))


def test_a_report_under_another_digest_or_of_a_failure_says_nothing(package: Path) -> None:
    folder, digest = reports_folder(None), package_digest(package)
    folder.mkdir(parents=True)
    for said in ({"digest": "d" * 64, "passed": True}, {"digest": digest, "passed": False}):
        (folder / f"{digest}.json").write_text(json.dumps(said))
        assert not has_passed(digest)
