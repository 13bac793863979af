"""What can be said of the shipped packages without running them."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PACKAGES = Path(__file__).resolve().parents[2] / "model_packages"
FOLDERS = sorted(path.parent for path in PACKAGES.glob("*/*/model.yaml"))
LIMIT = 5_000_000
ALLOWED = {"model.yaml", "model.py", "requirements.in", "train.py", "CHANGES.md", "MODEL_CARD.md"}

each_package = pytest.mark.parametrize(
    "package", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)


def manifest(package: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((package / "model.yaml").read_text())
    return read


def imported(source: Path) -> set[str]:
    """Top-level names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def test_three_packages_are_shipped() -> None:
    assert [f"{f.parent.name}@{f.name}" for f in FOLDERS] == ["aesthetics@2.0", "captions@1.4", "tags@3.1"]


@each_package
def test_folder_names_are_name_and_version(package: Path) -> None:
    said = manifest(package)
    assert (said["name"], said["version"]) == (package.parent.name, package.name)


@each_package
def test_the_model_imports_nothing_of_crema_and_no_pickle(package: Path) -> None:
    for source in package.glob("*.py"):
        assert imported(source).isdisjoint(
            {"crema", "coordinator", "minion", "preprocessor", "pickle", "joblib"}
        ), source
        assert "torch.load" not in source.read_text()


def test_aesthetics_serves_without_torch() -> None:
    package = PACKAGES / "aesthetics" / "2.0"
    assert "torch" not in imported(package / "model.py")
    for lock in package.glob("requirements.*.lock"):
        assert not re.search(r"^(torch|nvidia)", lock.read_text(), re.MULTILINE), lock.name


@each_package
def test_every_weight_file_is_declared_with_its_digest(package: Path) -> None:
    declared = {entry["path"]: entry["sha256"] for entry in manifest(package)["weights"]}
    assert set(declared) == {f"weights/{path.name}" for path in (package / "weights").iterdir()}
    for path, digest in declared.items():
        assert hashlib.sha256((package / path).read_bytes()).hexdigest() == digest, path


@each_package
def test_the_package_is_small(package: Path) -> None:
    assert (
        sum(path.stat().st_size for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
        <= LIMIT
    )


@each_package
def test_every_path_lies_inside_the_folder(package: Path) -> None:
    said = manifest(package)
    paths = [entry["path"] for entry in said["weights"]]
    paths += [entry[key] for entry in said["examples"] for key in ("image", "expect")]
    for path in paths:
        assert (package / path).resolve(strict=True).is_relative_to(package.resolve()), path


@each_package
def test_there_are_at_least_two_golden_pairs_and_no_example_without_one(package: Path) -> None:
    examples = manifest(package)["examples"]
    assert len(examples) >= 2
    named = {Path(entry[key]).name for entry in examples for key in ("image", "expect")}
    assert named == {path.name for path in (package / "examples").iterdir()}


@each_package
def test_expected_outputs_are_whole_typed_objects(package: Path) -> None:
    said = manifest(package)
    for entry in said["examples"]:
        expected = json.loads((package / entry["expect"]).read_text())
        match said["output"]["type"]:
            case "tags":
                confidences = [tag["confidence"] for tag in expected["tags"]]
                assert confidences and confidences == sorted(confidences, reverse=True)
            case "score":
                assert 0.0 <= expected["score"] <= 1.0
            case "caption":
                assert expected["caption"]["text"] and 0.0 <= expected["caption"]["confidence"] <= 1.0


@each_package
def test_the_changes_name_this_version(package: Path) -> None:
    assert re.search(
        rf"^## {re.escape(package.name)}\b.*\n+\S", (package / "CHANGES.md").read_text(), re.MULTILINE
    )


@each_package
def test_both_profiles_are_locked_with_hashes_and_the_base_requirements(package: Path) -> None:
    for profile in ("cpu", "pypi"):
        lock = (package / f"requirements.{profile}.lock").read_text()
        pinned = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.MULTILINE)
        assert {"msgpack", "numpy"} <= set(pinned)
        assert lock.count("--hash=sha256:") >= len(pinned)


def test_two_packages_need_versions_of_numpy_that_exclude_each_other() -> None:
    wanted = {folder.parent.name: (folder / "requirements.in").read_text() for folder in FOLDERS}
    assert "numpy==1.26.4" in wanted["aesthetics"]
    assert "numpy>=2" in wanted["tags"] and "numpy>=2" in wanted["captions"]


@each_package
def test_nothing_but_a_package_lies_in_the_folder(package: Path) -> None:
    files = {path.name for path in package.iterdir() if path.is_file() and not path.name.endswith(".lock")}
    assert files == ALLOWED
