"""`crema bench` before anything is started: which package is meant. What it measures is tested with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.cli.main import run
from tests.cluster.toy_packages import write_package


def test_a_folder_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "packages/toy/1.0"]) == 2
    assert "NAME@VERSION" in capsys.readouterr().err


def test_a_name_without_a_cluster_file_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "toy@1.0"]) == 2
    assert "--cluster FILE" in capsys.readouterr().err


def test_a_name_that_is_not_there_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    write_package(Path("model_packages"), "bright", "1.2")
    Path("cluster.yaml").write_text("{}\n")
    assert run(["bench", "bright@9.9"]) == 2
    assert "there are: bright@1.2" in capsys.readouterr().err


def test_a_folder_without_a_manifest_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert run(["bench", "empty"]) == 1
    assert "has no usable manifest" in capsys.readouterr().err


def test_a_python_that_cannot_be_run_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREMA_ENV_PYTHON", "/nowhere/python")
    package = write_package(Path("model_packages"), "bright")
    assert run(["bench", str(package)]) == 1
    assert "CREMA_ENV_PYTHON names /nowhere/python" in capsys.readouterr().err
