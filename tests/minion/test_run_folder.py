"""A minion's run folder, and what is left of one that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from minion.run_folder import RunFolder, remove_abandoned

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.path / "worker-1").mkdir()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_minion_that_lives_is_left_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    remove_abandoned(tmp_path)
    assert folder.path.is_dir()
    folder.remove()


def test_what_a_minion_left_that_ended_without_removing_it_is_removed(tmp_path: Path) -> None:
    script = f"from pathlib import Path; from minion.run_folder import RunFolder; RunFolder(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
    assert len(list(tmp_path.iterdir())) == 1
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_run_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "crema-minion-other").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "crema-minion-link").symlink_to(tmp_path / "elsewhere")
    remove_abandoned(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
