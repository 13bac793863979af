"""Debian's Prometheus in tests: promtool and the server. Where they are missing a test is skipped with the reason."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

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


class Prometheus:
    """A Prometheus with the project's own configuration and rules, made quicker: a control period is two seconds."""

    def __init__(self, folder: Path, coordinator: str) -> None:
        folder.mkdir()
        rules = (PROMETHEUS / "rules.yml").read_text().replace("15s", "2s").replace("1 / 15", "1 / 2")
        (folder / "rules.yml").write_text(rules)
        config = (PROMETHEUS / "prometheus.yml").read_text()
        for written, ours in (
            ("scrape_interval: 5s", "scrape_interval: 500ms"),
            ("scrape_timeout: 2s", "scrape_timeout: 500ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 2s"),
            ("refresh_interval: 5s", "refresh_interval: 1s"),
            ("http://127.0.0.1:8001", coordinator),
        ):
            assert written in config
            config = config.replace(written, ours)
        (folder / "prometheus.yml").write_text(config)
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                 f"--web.listen-address=127.0.0.1:{port}"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series that it gives now; none while it is not up."""
        url = f"{self.url}/api/v1/query?{urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.loads(answer.read())["data"]["result"]
        except OSError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in found]

    def until(self, expression: str, timeout_s: float) -> list[tuple[dict[str, str], float]]:
        """Wait until it gives something."""
        deadline = time.monotonic() + timeout_s
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, f"{expression} gave nothing in {timeout_s} s"
            time.sleep(0.1)
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
