"""Reports: found for exactly the files that were checked, and for no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from check.digest import package_digest
from check.report import Report, Step, find_report, reports_folder
from tests.check.package_maker import write_package


def report_of(package: Path) -> Report:
    steps = (Step("manifest", "ok", 0.1, "fine"), Step("lock", "failed", 0.2, "stale", "try: lock"))
    return Report(
        str(package),
        "bright",
        "1.0",
        package_digest(package),
        "0.1",
        False,
        steps,
        "2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "packages")


def test_a_stored_report_is_found_as_it_was(package: Path) -> None:
    report_of(package).store()
    assert find_report(package) == report_of(package)


def test_a_package_that_was_never_checked_has_no_report(package: Path) -> None:
    assert find_report(package) is None


def test_a_changed_file_has_no_report(package: Path) -> None:
    report_of(package).store()
    (package / "model.py").write_text("# other")
    assert find_report(package) is None


def test_an_equal_package_elsewhere_shares_the_report(package: Path, tmp_path: Path) -> None:
    report_of(package).store()
    assert find_report(write_package(tmp_path / "copy")) is not None


def test_bytecode_changes_no_digest(package: Path) -> None:
    report_of(package).store()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    assert find_report(package) is not None


def test_a_cluster_s_state_folder_holds_it_too(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".crema"
    path = report_of(package).store(state)
    assert path.parent == state / "checks"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert find_report(package) is None
    assert find_report(package, state=state) is not None


def test_reports_of_a_development_python_lie_apart(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREMA_ENV_PYTHON", "/usr/bin/python3")
    report_of(package).store()
    assert find_report(package) is not None
    monkeypatch.delenv("CREMA_ENV_PYTHON")
    assert find_report(package) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"steps": [{}]}'])
def test_a_file_that_is_no_report_is_none(package: Path, content: str) -> None:
    folder = reports_folder(None)
    folder.mkdir(parents=True)
    (folder / f"{package_digest(package)}.json").write_text(content)
    assert find_report(package) is None


def test_the_document_is_plain_json_and_leaves_empty_details_out(package: Path) -> None:
    document = json.loads(json.dumps(report_of(package).document()))
    assert document["passed"] is False
    assert document["steps"] == [
        {"name": "manifest", "status": "ok", "seconds": 0.1, "message": "fine"},
        {"name": "lock", "status": "failed", "seconds": 0.2, "message": "stale", "detail": "try: lock"},
    ]


def test_a_report_is_for_its_owner_s_eyes(package: Path) -> None:
    assert report_of(package).store().parent.stat().st_mode & 0o077 == 0
