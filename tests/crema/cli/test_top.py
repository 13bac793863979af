"""`crema top` without a terminal: one frame, or one after another, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from crema.cli.main import run
from deploy.running_cluster import NotRunning

DOCUMENT: dict[str, Any] = {
    "cluster": "/srv/cluster.yaml",
    "state": "ready",
    "urls": {},
    "processes": [],
    "models": [{"model": "tags", "version": "3.1", "state": "ready", "replicas": 1, "ready": 1}],
}


class Running:
    """Answers so many times; then the supervisor is gone, or somebody presses Ctrl-C."""

    def __init__(self, answers: int, then: BaseException | None = None) -> None:
        self.left = answers
        self.then = then or NotRunning("the supervisor does not answer")

    def status(self) -> dict[str, Any]:
        if not self.left:
            raise self.then
        self.left -= 1
        return DOCUMENT


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def found(monkeypatch: pytest.MonkeyPatch, running: Running) -> None:
    monkeypatch.setattr("deploy.running_cluster.find_cluster", lambda cluster: running)


def test_once_prints_one_frame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, Running(2))
    assert run(["top", "--once", "--interval", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert (printed.count("STATE "), printed.count("tags@3.1")) == (1, 1)


def test_programs_get_what_status_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Running(2))
    assert run(["top", "--once", "--json", "--interval", "0.2"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == DOCUMENT["cluster"]


def test_without_a_terminal_frames_follow_each_other_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Running(4, KeyboardInterrupt()))
    assert run(["top", "--interval", "0.2"]) == 0
    said = capsys.readouterr()
    assert said.out.count("STATE ") == 3  # the first look has no rates, and is not shown
    assert "\x1b[?1049h" not in said.out
    assert said.err == ""


def test_a_cluster_that_is_gone_ends_it_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Running(2))
    assert run(["top", "--interval", "0.2"]) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--sort", "colour"], ["--interval", "0"]])
def test_wrong_use_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", *arguments]) == 2
    assert "example: crema top" in capsys.readouterr().err
