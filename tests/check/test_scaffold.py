"""`crema new`: packages that pass as they are, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from check.checklist import check_package
from check.scaffold import KINDS, Kind, ScaffoldRefused, write_scaffold
from check.source_code import refused_code
from crema.cli.new import new
from crema.host.manifest import load_manifest
from envs.lock import LockError, lock_package
from envs.uv import find_uv, sources

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(new, arguments, standalone_mode=False, catch_exceptions=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaffold_has_a_valid_manifest_and_right_digests(tmp_path: Path, kind: Kind) -> None:
    folder = write_scaffold(tmp_path, "my-model", "2.3", kind)
    manifest = load_manifest(folder)
    assert (manifest.name, manifest.version) == ("my-model", "2.3")
    assert manifest.wrong_weights() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaffold_imports_nothing_of_crema(tmp_path: Path, kind: Kind) -> None:
    folder = write_scaffold(tmp_path, "my-model", "1.0", kind)
    assert refused_code(folder) == []
    assert "crema" not in (folder / "model.py").read_text()


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("My Model", "1.0", "'My Model' is no name"),
        ("../up", "1.0", "is no name"),
        ("model", "1", "1"),
        ("model", "1.0.0", "1.0.0"),
    ],
)
def test_what_could_be_no_package_is_refused(tmp_path: Path, name: str, version: str, reason: str) -> None:
    with pytest.raises(ScaffoldRefused) as caught:
        write_scaffold(tmp_path, name, version, "numpy")
    assert reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    folder = write_scaffold(tmp_path, "model", "1.0", "numpy")
    (folder / "model.py").write_text("mine")
    with pytest.raises(ScaffoldRefused, match="is there already"):
        write_scaffold(tmp_path, "model", "1.0", "torch")
    assert (folder / "model.py").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["1.0"]


def test_a_minor_version_is_a_copy_and_no_scaffold(tmp_path: Path) -> None:
    write_scaffold(tmp_path, "model", "1.0", "numpy")
    with pytest.raises(ScaffoldRefused, match=r"a minor version answers as 1\.0 does: copy "):
        write_scaffold(tmp_path, "model", "1.1", "numpy")


def test_new_tells_programs_what_is_next(tmp_path: Path) -> None:
    printed = call("dusk", "--packages", str(tmp_path), "--kind", "numpy", "--no-lock", "--json").stdout
    folder = str(tmp_path / "dusk" / "1.0")
    assert json.loads(printed) == {"package": folder, "locks": [], "next": f"crema lock {folder}"}


def test_new_writes_into_the_packages_of_the_cluster_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text("packages: theirs\ndefault_models: [sunsets]\n")
    done = call("sunsets", "--kind", "numpy", "--no-lock")
    assert done.return_value == 0
    assert done.output.splitlines()[-1].split() == ["NEXT", "crema", "lock", "theirs/sunsets/1.0"]
    assert Path("theirs/sunsets/1.0/model.yaml").is_file()


def test_new_says_what_is_next_where_no_lock_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.lock.find_uv", lambda: None)
    done = call("sunsets", "--packages", str(tmp_path))
    assert done.return_value == 0
    assert "locking needs uv" in done.output
    assert done.output.splitlines()[-1].startswith("NEXT      crema lock ")


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["onnx", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_scaffold_passes_its_check_and_its_own_tests(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of kind numpy does so in docs/first-package.md."""
    monkeypatch.delenv("CREMA_ENV_PYTHON", raising=False)
    folder = write_scaffold(tmp_path, "my-model", "1.0", kind)
    try:
        lock_package(folder, "cpu")
    except LockError as error:
        pytest.skip(f"no lock can be made here: {error}")
    report = check_package(folder)
    assert report.first_failed is None
    # plain pytest in the package's own environment, which has no pytest: ours is lent, and nothing of crema
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    uv = find_uv()
    assert uv is not None
    wanted = ["--with-requirements", "requirements.cpu.lock", "--with", "pytest", "--with", "pillow"]
    done = subprocess.run(
        [uv, "run", "--no-project", *sources("cpu").arguments, *wanted, "--python", sys.executable, "python", "-m", "pytest", "-q"],
        cwd=folder, env={**environment, **sources("cpu").environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "6 passed" in done.stdout, done.stdout + done.stderr
