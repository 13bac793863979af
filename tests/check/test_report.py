"""A report as a document, and as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from check.report import Report, Step
from crema.host.package_paths import package_digest
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


def test_the_document_is_plain_json_and_leaves_empty_details_out(package: Path) -> None:
    document = json.loads(json.dumps(report_of(package).document()))
    assert document["passed"] is False
    assert document["steps"] == [
        {"name": "manifest", "status": "ok", "seconds": 0.1, "message": "fine"},
        {"name": "lock", "status": "failed", "seconds": 0.2, "message": "stale", "detail": "try: lock"},
    ]


def test_a_report_is_for_its_owner_s_eyes(package: Path) -> None:
    assert report_of(package).store().parent.stat().st_mode & 0o077 == 0
