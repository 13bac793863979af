"""Fixtures of the command's tests: a public API that answers as it is told, and no running cluster to find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crema.cli.api_server import FakeApi, fake_api


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs look for clusters in the working directory and in the user's runtime folder."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(tmp_path / "here")
