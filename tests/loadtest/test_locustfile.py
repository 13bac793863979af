"""The locustfile: sound without Locust, and run where there is one."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from loadtest.drawn_photo import draw_photo
from tests.loadtest.told_server import FULL, answer, told_server

ROOT = Path(__file__).resolve().parents[2]
LOCUST = shutil.which("locust")


def test_it_is_python_and_says_what_locust_does_not_see() -> None:
    text = ast.get_docstring(ast.parse((ROOT / "loadtest" / "locustfile.py").read_text()))
    assert text is not None and "closed loop" in text


@pytest.mark.slow
@pytest.mark.skipif(
    LOCUST is None and not os.environ.get("CREMA_REQUIRE_TOOLS"),
    reason="needs Locust on the path: pip install locust",
)
async def test_locust_sends_photos_and_tells_refusals_apart(tmp_path: Path) -> None:
    assert LOCUST is not None, "Locust is not on the path: pip install locust"
    (tmp_path / "a.jpg").write_bytes(draw_photo(64, 48, 1))

    async def tell(number: int) -> tuple[int, Any]:
        return (429, FULL) if number % 2 else (200, answer())

    async with told_server(tell) as server, asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            LOCUST, "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless", "-u", "4", "-r", "4", "-t", "3s",
            "--host", server.url, "--json", "--skip-log", "--exit-code-on-error", "0",
            env={**os.environ, "PYTHONPATH": str(ROOT), "CREMA_PHOTOS": str(tmp_path), "CREMA_MODELS": "tags@3,captions",
                 "CREMA_PER_USER_S": "5"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    (row,) = json.loads(out)
    assert row["num_requests"] > 8 and row["num_failures"] == pytest.approx(row["num_requests"] / 2, abs=1)
    assert server.queries[0] == {"models": "tags@3,captions"}
    assert server.photos[0][:2] == b"\xff\xd8"
