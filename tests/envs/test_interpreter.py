"""Finding a Python: ours first, then those on PATH, never a download."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crema.host.python_requirement import PythonRequirement
from envs.interpreter import NoInterpreter, choose_interpreter, inspect


def put_python(folder: Path, name: str, answer: str) -> Path:
    """A program that answers like a Python of that release."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_our_own_interpreter_is_taken_when_it_fits() -> None:
    chosen = choose_interpreter(PythonRequirement.parse(">=3.11"))
    assert chosen.path == Path(sys.executable)
    assert chosen.release == sys.version_info[:3]
    assert chosen.platform.startswith("cpython-3")


def test_another_release_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_python(tmp_path / "a", "python3.97", "broken stub of a version manager")
    expected = put_python(tmp_path / "b", "python3.98", "3 98 1 cpython-398-x86_64-linux-gnu")
    put_python(tmp_path / "b", "python3.99", "3 99 0 cpython-399-x86_64-linux-gnu")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/nowhere::{tmp_path}/b")
    chosen = choose_interpreter(PythonRequirement.parse(">=3.97"))
    assert (chosen.path, chosen.release, chosen.platform) == (
        expected,
        (3, 98, 1),
        "cpython-398-x86_64-linux-gnu",
    )


def test_when_none_fits_those_that_were_found_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put_python(tmp_path, "python3.98", "3 98 1 cpython-398-x86_64-linux-gnu")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoInterpreter) as caught:
        choose_interpreter(PythonRequirement.parse("<3.5"))
    ours = ".".join(map(str, sys.version_info[:3]))
    assert f"no Python here fits python: <3.5; found {ours} ({sys.executable}), 3.98.1 ({other})" in str(
        caught.value
    )


def test_a_program_that_is_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInterpreter, match="is not a Python that runs"):
        inspect(put_python(tmp_path, "python3", "hello"))
