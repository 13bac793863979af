"""`crema up` before anything is started: wrong use and mistakes in files. What it starts is tested with real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crema.cli.main import run
from deploy.running_cluster import state_folder_of
from deploy.state_folder import StateFolder


def test_without_a_cluster_file_up_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up"]) == 2
    assert "crema up path/to/cluster.yaml" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_all_mistakes_of_the_file_are_shown_and_no_state_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    Path("cluster.yaml").write_text("preprocessor: {replicas: 0}\ncoordinater: {}\n")
    assert run(["up"]) == 1
    said = capsys.readouterr().err
    assert "preprocessor.replicas" in said
    assert "coordinater" in said
    assert not Path(".crema").exists()


def test_a_cluster_that_runs_already_is_named_by_pid(capsys: pytest.CaptureFixture[str]) -> None:
    Path("model_packages").mkdir()
    Path("cluster.yaml").write_text("packages: model_packages\n")
    other = StateFolder(state_folder_of(Path("cluster.yaml")))
    other.hold()
    other.write({"pid": os.getpid()})
    assert run(["up"]) == 1
    assert f"pid {os.getpid()}" in capsys.readouterr().err
    other.release()


def test_a_photo_that_is_not_there_is_wrong_use() -> None:
    Path("cluster.yaml").write_text("")
    assert run(["up", "--analyze", "nowhere.jpg"]) == 2
