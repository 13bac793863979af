"""The compiled modules: which processes run them, and that nobody runs those of other sources."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crema import compiled
from crema.host.light_ring import make_light_ring

ROOT = Path(__file__).resolve().parent.parent
# in a process of its own: what this one has imported already, it keeps
ASK = """
import importlib, json
from crema.compiled import MODULES, prefer
preferred = prefer()
print(json.dumps([preferred, {name: importlib.import_module(name).__file__ for name in MODULES}]))
"""


def printed(script: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """What a Python process prints that ends well."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def ask(**environment: str) -> tuple[bool, dict[str, str]]:
    preferred, files = json.loads(printed(ASK, **environment))
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
        imported = set(json.loads(printed(script).partition("\n")[0]))
        assert imported.isdisjoint(compiled.MODULES)


def test_another_source_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("crema/host", "coordinator", "minion", "preprocessor"):
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
    for modules in (compiled.MODULES, compiled.LIGHT_MODULES):
        assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []
        assert len(set(modules)) == len(modules)


def test_no_bound_of_a_slice_does_anything() -> None:
    """mypyc evaluates it twice where it does not know what is sliced."""
    found = []
    for name in {*compiled.MODULES, *compiled.LIGHT_MODULES}:
        tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
        for piece in (node for node in ast.walk(tree) if isinstance(node, ast.Slice)):
            calls = [
                node for node in ast.walk(piece) if isinstance(node, ast.Call | ast.NamedExpr | ast.Await)
            ]
            if any(
                not isinstance(call, ast.Call) or ast.unparse(call.func) not in ("len", "min")
                for call in calls
            ):
                found.append(f"{name}: {ast.unparse(piece)}")
    assert found == []


# -- workers -----------------------------------------------------------------------------------------------------------


def test_a_worker_s_python_takes_what_is_compiled_for_it(made: Path, tmp_path: Path) -> None:
    ring = make_light_ring(tmp_path)
    script = "import importlib, json, sys; print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))"
    files = json.loads(printed(script, *compiled.LIGHT_MODULES, cwd=tmp_path, PYTHONPATH=str(ring)))
    assert all(file.startswith(str(ring)) and file.endswith(".so") for file in files), files


WORKER = (
    "import sys, crema; from crema.compiled import light_home; home = light_home(); assert home is not None; sys.path.append(str(home));"
    " crema.__path__.insert(0, str(home / 'crema')); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
)
TIER = "import sys; from crema.compiled import prefer; assert prefer(); import pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("taken", "tests"),
    [
        (WORKER, [f"crema/test_{name}.py" for name in ("worker", "outcomes", "overlap", "loaded_model")]),
        (TIER, [f"crema/host/test_{name}.py" for name in ("http_reader", "http_answer", "service_framing")]),
        (TIER, ["minion/test_door.py"]),
    ],
    ids=["worker", "listener", "door"],
)
def test_what_is_compiled_keeps_every_promise_of_the_source(made: Path, taken: str, tests: list[str]) -> None:
    """Its own tests, in a process that takes it compiled."""
    done = subprocess.run(
        [sys.executable, "-c", taken, "-q", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
