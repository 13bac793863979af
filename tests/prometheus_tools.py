"""Debian's Prometheus in tests: promtool and the server. Where they are missing a test is skipped with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROMETHEUS = Path(__file__).resolve().parents[1] / "deploy" / "prometheus"
INSTALL = "apt-get install --no-install-recommends prometheus"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is None and os.environ.get("CREMA_REQUIRE_TOOLS"):
        pytest.fail(f"there is no {name}; install it: {INSTALL}")
    if found is None:
        pytest.skip(f"needs {name}: {INSTALL}")
    return found


def promtool(*arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run promtool; `given` is its input."""
    return subprocess.run(
        [program("promtool"), *arguments], input=given, capture_output=True, timeout=60, check=False
    )


def said(ended: subprocess.CompletedProcess[bytes]) -> str:
    """All that it printed."""
    return (ended.stdout + ended.stderr).decode()
