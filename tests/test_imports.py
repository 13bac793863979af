"""Who may import whom (design: section 5), read from the source; and what a worker really pulls in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TIERS = ("coordinator", "minion", "preprocessor")
LIGHT_RING_MAY = {"msgpack", "numpy", "crema"} | set(sys.stdlib_module_names)


def imports(folder: str, pattern: str = "**/*.py") -> Iterator[tuple[str, str]]:
    """(`file:line`, imported module) of every import statement, those inside functions included."""
    for path in sorted((ROOT / folder).glob(pattern)):
        relative = path.relative_to(ROOT)
        if "built" in relative.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield f"{relative}:{node.lineno}", alias.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{relative}:{node.lineno}: write the whole module name"
                yield f"{relative}:{node.lineno}", node.module or ""


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_imports_no_other_tier_and_no_starter(tier: str) -> None:
    others = {*TIERS, "check", "deploy", "envs", "loadtest"} - {tier}
    bad = [
        f"{where}: imports {module}"
        for where, module in imports(tier)
        if top(module) in others or module.startswith("crema.cli")
    ]
    assert not bad, "\n".join(bad)


def test_shared_code_imports_no_tier() -> None:
    bad = [
        f"{where}: imports {module}"
        for where, module in imports("crema")
        if top(module) in TIERS
        or (top(module) in {"check", "deploy", "envs", "loadtest"} and not where.startswith("crema/cli/"))
    ]
    assert not bad, "\n".join(bad)


def test_starters_start_tiers_as_processes_and_do_not_import_them() -> None:
    bad = [
        f"{where}: imports {module}"
        for folder in ("deploy", "envs", "check")
        for where, module in imports(folder)
        if top(module) in TIERS
    ]
    assert not bad, "\n".join(bad)


def test_the_checklist_starts_nothing_of_the_cluster_s_own() -> None:
    """It may import crema, crema.host and envs: not deploy, which starts clusters, and no verb."""
    bad = [
        f"{where}: imports {module}"
        for where, module in imports("check")
        if top(module) in {"deploy", "loadtest"} or module.startswith("crema.cli")
    ]
    assert not bad, "\n".join(bad)


def test_what_runs_in_a_package_s_environment_imports_only_the_light_ring() -> None:
    bad = [
        f"{where}: imports {module}"
        for file in ("probe_worker.py", "debugging_worker.py")
        for where, module in imports("check", file)
        if top(module) not in LIGHT_RING_MAY or module.startswith(("crema.host", "crema.cli"))
    ]
    assert not bad, "\n".join(bad)


def test_the_light_ring_needs_only_the_standard_library_msgpack_and_numpy() -> None:
    bad = [
        f"{where}: imports {module}"
        for where, module in imports("crema", "*.py")
        if (
            top(module) not in LIGHT_RING_MAY
            and not (where.startswith("crema/torch_model.py") and top(module) == "torch")
        )
        or module.startswith(("crema.host", "crema.cli"))
    ]
    assert not bad, "\n".join(bad)


def test_pillow_is_imported_only_by_the_preprocessor() -> None:
    folders = ("crema", "coordinator", "minion", "deploy", "envs", "check")
    bad = [
        f"{where}: imports {module}"
        for folder in folders
        for where, module in imports(folder)
        if top(module) == "PIL"
    ]
    assert not bad, "\n".join(bad)


def test_torch_is_imported_only_by_packages_and_torch_model() -> None:
    folders = ("crema", "coordinator", "minion", "preprocessor", "deploy", "envs", "check")
    bad = [
        f"{where}: imports {module}"
        for folder in folders
        for where, module in imports(folder)
        if top(module) in {"torch", "onnxruntime"}
        and not where.startswith(("crema/torch_model.py", "check/scaffolds/"))
    ]
    assert not bad, "\n".join(bad)


def test_packages_import_nothing_of_crema() -> None:
    bad = [
        f"{where}: imports {module}"
        for where, module in imports("model_packages", "*/*/model.py")
        if top(module) in {"crema", "pickle", "joblib", *TIERS}
    ]
    assert not bad, "\n".join(bad)


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
    folders = (
        "crema", "coordinator", "minion", "preprocessor", "deploy", "envs", "check", "benchmarks", "tests",
    )  # fmt: skip
    bad = [
        str(path)
        for folder in folders
        for path in (ROOT / folder).glob("**/*.py")
        if path.stem in names and "built" not in path.parts
    ]
    assert not bad, "\n".join(bad)


def test_a_worker_pulls_in_only_the_light_ring() -> None:
    """In a bare interpreter: `crema.worker` brings crema's light ring, msgpack, numpy and the standard library."""
    script = (
        "import json, sys; before = set(sys.modules); import crema.worker;"
        "print(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - before}"
        " | {m for m in sys.modules if m.startswith('crema.')})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    pulled = set(json.loads(done.stdout))
    ours = {name for name in pulled if name.startswith("crema")}
    assert {name for name in ours if name.startswith(("crema.host", "crema.cli"))} == set()
    foreign = {
        name for name in pulled - ours if name not in sys.stdlib_module_names and not name.startswith("_")
    }
    # compiled extensions register a pseudo-module of their compiler
    assert foreign - {"cython_runtime"} <= {"msgpack", "numpy"}
