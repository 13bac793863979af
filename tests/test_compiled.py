"""The compiled modules: which processes run them, and that nobody runs those of other sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crema import compiled

ROOT = Path(__file__).resolve().parent.parent
# in a process of its own: what this one has imported already, it keeps
ASK = """
import importlib, json
from crema.compiled import MODULES, prefer
preferred = prefer()
print(json.dumps([preferred, {name: importlib.import_module(name).__file__ for name in MODULES}]))
"""


def ask(**environment: str) -> tuple[bool, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    preferred, files = json.loads(done.stdout)
    return preferred, files


@pytest.fixture
def made() -> Path:
    folder = compiled.home()
    if not folder.is_dir():
        if os.environ.get("CREMA_REQUIRE_TOOLS"):
            pytest.fail("nothing is compiled here: make compiled says why")
        pytest.skip("nothing is compiled here: make compiled")
    return folder


def test_every_module_is_taken_from_what_was_compiled(made: Path) -> None:
    preferred, files = ask()
    assert preferred
    assert {name: file for name, file in files.items() if not file.startswith(str(made))} == {}
    assert all(file.endswith(".so") for file in files.values())


def test_who_debugs_runs_the_sources(made: Path) -> None:
    preferred, files = ask(CREMA_COMPILED="0")
    assert not preferred
    assert files == {name: str(ROOT / f"{name.replace('.', '/')}.py") for name in compiled.MODULES}


def test_every_tier_prefers_them_before_it_imports_any() -> None:
    """Otherwise half of a process would be the one, half the other."""
    for tier in ("coordinator", "minion", "preprocessor"):
        script = (
            "import runpy, sys, crema.compiled as compiled; compiled.prefer = lambda: print(json.dumps(sorted(sys.modules)))"
            f"; import json; sys.argv = ['{tier}', '--help']; runpy.run_module('{tier}', run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        imported = set(json.loads(done.stdout.partition("\n")[0]))
        assert imported.isdisjoint(compiled.MODULES)


def test_another_source_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("crema/host", "coordinator", "minion"):
        (tmp_path / package).mkdir(parents=True)
    gate = tmp_path / "minion" / "gate.py"
    gate.write_text("PLACES = 1\n")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    before = compiled.home()
    assert compiled.home() == before
    gate.write_text("PLACES = 2\n")
    assert compiled.home() != before
    gate.write_text("PLACES = 1\n")
    assert compiled.home() == before
    assert not compiled.is_compiled()
    assert not compiled.prefer()


def test_every_module_has_its_source() -> None:
    assert [name for name in compiled.MODULES if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []
    assert len(set(compiled.MODULES)) == len(compiled.MODULES)
