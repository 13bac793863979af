"""Fixtures of the checklist's tests: a cache of their own for reports, and our own Python for every package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/"), ".cache")
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(Path(usual, "uv")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package is run by our own Python, and no environment is built."""
    monkeypatch.setenv("CREMA_ENV_PYTHON", sys.executable)
