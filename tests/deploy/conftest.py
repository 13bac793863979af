"""Fixtures of the deploy tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy import tiers
from tests.deploy.toy_cluster import write_package
from tests.deploy.toy_site import Site


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(tiers, "_ROOT", Path(__file__).with_name("fake_tiers"))
    for tier in ("minion", "preprocessor", "coordinator"):
        monkeypatch.setenv(f"FAKE_{tier.upper()}", str(tmp_path / tier))
    monkeypatch.setenv("FAKE_DIARY", str(tmp_path / "diary"))
    write_package(tmp_path, "left")
    write_package(tmp_path, "right")
    site = Site(tmp_path)
    yield site
    await site.stop()
