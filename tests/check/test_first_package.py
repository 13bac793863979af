"""The tutorial: every block of docs/first-package.md is run, in its order, and says what the page shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from envs.uv import find_uv, sources
from tests.waiting import wait_until

pytestmark = [pytest.mark.cluster]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-package.md"
LIMIT_S = 120


class Block(NamedTuple):
    """One block of the page: its language, what stands behind that, its text and its line."""

    language: str
    how: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks in their order."""
    for match in re.finditer(r"^```(\w+) ?(\S*)\n(.*?)^```$", page, re.M | re.S):
        yield Block(match[1], match[2], match[3], page.count("\n", 0, match.start()) + 1)


class Reader:
    """Somebody who does what the page says, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        self.background: list[subprocess.Popen[bytes]] = []
        scripts = folder / "bin"
        scripts.mkdir()
        (scripts / "crema").write_text(f'#!/bin/sh\nexec {sys.executable} -m crema.cli "$@"\n')
        (scripts / "crema").chmod(0o755)
        uv = find_uv()
        if uv is None:
            pytest.skip("uv is not here; it is a dependency of crema[local]")
        (scripts / "uv").symlink_to(uv)
        self.environment = {
            **sources("cpu").environment,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(folder),
        }
        self.environment.pop("CREMA_ENV_PYTHON", None)

    def does(self, block: Block) -> None:
        """Follow one block."""
        if block.language == "yaml":
            text = re.sub(
                r"127\.0\.0\.1:\d+", "127.0.0.1:0", block.text
            )  # other tests may run beside this one
            (self.folder / "cluster.yaml").write_text(text)
        elif block.language == "python":
            package = self.folder / "model_packages" / "sunsets" / "1.0"
            self._runs(
                [
                    "uv",
                    "run",
                    "--no-project",
                    "--with-requirements",
                    "requirements.in",
                    "python",
                    "-c",
                    block.text,
                ],
                package,
                block,
            )
        elif block.language == "text":
            self._reads(block)
        elif block.how == "background":
            self.background.append(
                subprocess.Popen(
                    ["sh", "-c", f"exec {block.text}"],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=subprocess.DEVNULL,
                )
            )
            self._waits()
        else:
            self._runs(["bash", "-e", "-c", block.text], self.folder, block)

    def ends(self) -> None:
        """Ctrl-C in every other terminal."""
        for process in self.background:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _runs(self, command: list[str], folder: Path, block: Block) -> None:
        environment = self.environment
        if "uv" in block.text or "uv" in command:  # a plain Python: crema is not there
            environment = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        wanted = int(block.how.removeprefix("exit=") or 0)
        assert done.returncode == wanted, f"line {block.line}: {done.stdout}{done.stderr}"
        self.said = done.stdout
        if "crema new" in block.text and not list(self.folder.glob("model_packages/*/*/requirements.*.lock")):
            pytest.skip(f"no lock can be made here: {done.stdout}")

    def _reads(self, block: Block) -> None:
        said = [line.split() for line in self.said.splitlines()]
        for line in block.text.splitlines():
            assert any(is_shown(line.split(), words) for words in said), (
                f"line {block.line}: {line!r} in {self.said}"
            )

    def _waits(self) -> None:
        wait_until(self._is_ready, "the cluster to be ready", LIMIT_S)

    def _is_ready(self) -> bool:
        assert self.background[-1].poll() is None, "the cluster has ended"
        done = subprocess.run(
            ["crema", "status", "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            return False
        return {process["state"] for process in json.loads(done.stdout)["processes"]} == {"ready"}


def is_shown(wanted: list[str], words: list[str]) -> bool:
    """Whether the words of a line of the page stand in a line of output, from its beginning and in their order."""
    rest = iter(words)
    return wanted[:1] == words[:1] and all(word in rest for word in wanted)


def test_every_block_of_the_first_package_runs_and_says_what_the_page_shows(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    found = list(blocks(PAGE.read_text()))
    assert len(found) > 15
    try:
        for block in found:
            reader.does(block)
    finally:
        reader.ends()
    assert reader.background[-1].returncode == 0
