"""Console: plain, aligned lines where there is no terminal; nothing that can stop a cluster."""

from __future__ import annotations

import sys

import pytest

from crema.cli.console import Console


def test_a_line_has_its_state_first_and_its_problem_last(capsys: pytest.CaptureFixture[str]) -> None:
    Console().line("FAILED", "tags@3.1", "1 of 2", "no weights")
    assert capsys.readouterr().out == "FAILED    tags@3.1         1 of 2  no weights\n"


def test_the_further_lines_of_a_problem_stand_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    Console().line("FAILED", "x", problem="no lock\n  try: crema lock")
    assert capsys.readouterr().out.splitlines()[1] == "            try: crema lock"


def test_each_step_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for _ in range(3):
        console.working("waiting for tags@3.1")
    console.working(None)
    assert capsys.readouterr().out == "…         waiting for tags@3.1\n"


def test_an_output_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    Console().line("READY", "api")
