"""Doctor: what it finds on a machine where all is well, and what it says where something is not."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from crema.cli.main import run
from crema.host.development import PYTHON_VARIABLE
from deploy.doctor import Finding, examine
from tests.deploy.toy_cluster import resolved, write_package


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    write_package(tmp_path, "toy")
    resolved(tmp_path)
    return tmp_path / "cluster.yaml"


def failed(file: Path) -> list[Finding]:
    return [finding for finding in examine(file) if finding.state == "failed"]


def test_where_all_is_well_nothing_fails(file: Path) -> None:
    assert failed(file) == []
    assert run(["doctor", "--cluster", str(file)]) == 0


def test_a_port_that_another_program_has_is_found(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file.write_text(f'coordinator: {{listen: "127.0.0.1:{port}"}}\n')
        [finding] = failed(file)
        assert (finding.what, finding.detail) == (f"port {port}", "coordinator.listen")


def test_a_mistake_in_the_cluster_file_is_shown_whole(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("modells: {}\n")
    assert run(["doctor", "--cluster", str(file)]) == 1
    assert "cluster.yaml:1:1: modells" in capsys.readouterr().out


def test_a_version_without_a_lock_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE)
    assert [(finding.what, "has no lock" in finding.problem) for finding in failed(file)] == [
        ("toy@1.0", True)
    ]


def test_a_cluster_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "there is no such file" in failed(tmp_path / "other.yaml")[-1].problem


def test_a_folder_that_no_version_can_be_called_after_is_noted(file: Path) -> None:
    write_package(file.parent, "toy", "2.0")
    (file.parent / "model_packages" / "toy" / "2.0").rename(file.parent / "model_packages" / "toy" / "v2")
    [note] = [finding for finding in examine(file) if finding.what == "toy/v2"]
    assert (note.state, "try: rename it" in note.problem) == ("note", True)
