"""Which Python `.venv` stands on: the one that was named, or a much quicker one of the same version."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from scripts import bootstrap

ROOT = Path(__file__).parent.parent
SOABI = sysconfig.get_config_var("SOABI")


def python(folder: Path, name: str, answer: str) -> str:
    """A program that answers as a Python asked by the probe would."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def named(tmp_path: Path) -> str:
    return python(tmp_path, "named", f"echo {SOABI} 0.010")


def test_a_much_quicker_one_is_taken_and_said(
    tmp_path: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [
        python(tmp_path, "quick", f"echo {SOABI} 0.005"),
        python(tmp_path, "some", f"echo {SOABI} 0.006"),
    ]
    assert bootstrap.choose(named, iter(others)) == others[0]
    said = capsys.readouterr().out
    assert f"using {others[0]}: 2.0 times as quick" in said
    assert f"make PYTHON={named}" in said


@pytest.mark.parametrize(
    "answer",
    [
        f"echo {SOABI} 0.008",
        "echo cpython-39-x86_64-linux-gnu 0.001",
        "echo",
        "exit 1",
        f"echo {SOABI} 0.001; exit 1",
    ],
    ids=["not much quicker", "another version", "says nothing", "does not run", "lacks a module"],
)
def test_any_other_is_not(
    tmp_path: Path, named: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.choose(named, iter([python(tmp_path, "other", answer)])) == named
    assert capsys.readouterr().out == ""


def test_the_named_one_stays_when_there_is_no_other(named: str) -> None:
    assert bootstrap.choose(named, iter([])) == named


def test_the_probe_runs_here() -> None:
    seconds = bootstrap.step_seconds(sys.executable)
    assert seconds is not None
    assert 0 < seconds < 5


def test_every_python_of_this_version_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    here, link, own, locked = (tmp_path / each for each in ("here", "link", "own", "locked"))
    for folder in (here, link, own, locked):
        folder.mkdir()
    found = python(here, name, "exit")
    (link / name).symlink_to(found)
    (own / name).symlink_to(sys.executable)
    (locked / name).write_text("no program")
    monkeypatch.setenv("PATH", ":".join(map(str, (here, link, own, locked, tmp_path / "missing"))))
    assert [each for each in bootstrap.candidates() if each.startswith(str(tmp_path))] == [found]


@pytest.mark.parametrize(
    ("told", "environment", "expected"),
    [([], {}, "[--choose]"), (["PYTHON=python3"], {}, "[]"), ([], {"PYTHON": "python3"}, "[]")],
)
def test_make_chooses_unless_it_was_told(told: list[str], environment: dict[str, str], expected: str) -> None:
    asked = ["make", "--no-print-directory", "--eval", "asked: ; @echo [$(CHOOSE)]", *told, "asked"]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHON", "MAKEFLAGS", "MAKEOVERRIDES")
    }
    done = subprocess.run(
        asked, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
