"""What a worker inherits, and what not."""

from __future__ import annotations

import os
from pathlib import Path

from minion.worker_environment import make_scratch, remove_scratch, worker_environment

RING, SCRATCH = Path("/ring"), Path("/scratch")


def test_nothing_that_is_not_listed_is_inherited() -> None:
    inherited = {
        "DATABASE_URL": "x",
        "CREMA_CLUSTER_TOKEN": "x",
        "PYTHONPATH": "/everything",
        "HOME": "/root",
    }
    assert "x" not in worker_environment(inherited, RING, SCRATCH).values()


def test_tuning_of_libraries_and_devices_is_inherited() -> None:
    inherited = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0", "LC_ALL": "C", "PATH": "/bin"}
    assert inherited.items() <= worker_environment(inherited, RING, SCRATCH).items()


def test_one_of_several_workers_is_told_its_share_of_the_cores_unless_it_was_tuned() -> None:
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert "OMP_NUM_THREADS" not in worker_environment({}, RING, SCRATCH)
    assert worker_environment({}, RING, SCRATCH, workers=2)["OMP_NUM_THREADS"] == share
    assert worker_environment({"OMP_NUM_THREADS": "7"}, RING, SCRATCH, workers=2)["OMP_NUM_THREADS"] == "7"


def test_a_secret_is_not_inherited_under_a_listed_prefix() -> None:
    assert "TORCH_HUB_TOKEN" not in worker_environment({"TORCH_HUB_TOKEN": "x"}, RING, SCRATCH)


def test_a_worker_sees_only_the_light_ring_of_crema_and_lives_in_its_scratch() -> None:
    environment = worker_environment({"PYTHONPATH": "/repo", "TMPDIR": "/tmp"}, RING, SCRATCH)
    assert environment["PYTHONPATH"] == "/ring"
    assert environment["HOME"] == environment["TMPDIR"] == "/scratch"


def test_a_worker_may_write_bytecode() -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in worker_environment(
        {"PYTHONDONTWRITEBYTECODE": "1"}, RING, SCRATCH
    )


def test_a_scratch_folder_is_empty_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    scratch = make_scratch(tmp_path)
    assert scratch.parent == tmp_path
    assert list(scratch.iterdir()) == []
    (scratch / "folder").mkdir()
    (scratch / "folder" / "file").write_text("x")
    remove_scratch(scratch)
    assert not scratch.exists()
