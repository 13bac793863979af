"""What is built: who uses it, what may go."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from crema.host.packages import find_packages
from envs.builder import environment_for
from envs.store import all_built, fingerprint, only_builder, prune, running_in, users

if TYPE_CHECKING:
    from conftest import Workshop

# They build real virtualenvs, if tiny ones and without a network.
pytestmark = pytest.mark.cluster


def test_a_fingerprint_changes_with_the_lock_and_with_the_kind_of_python() -> None:
    assert fingerprint("a", "cpython-311") == fingerprint("a", "cpython-311")
    assert (
        len(
            {
                fingerprint("a", "cpython-311"),
                fingerprint("b", "cpython-311"),
                fingerprint("a", "cpython-312"),
            }
        )
        == 3
    )


def test_the_packages_that_use_an_environment_are_named(workshop: Workshop) -> None:
    environment_for(workshop.package("tags", "3.1", ""))
    workshop.package("captions", "1.4", "", profiles=("cpu", "pypi"))
    (built,) = all_built(workshop.root)
    assert users(built, find_packages(workshop.packages)) == [
        "captions@1.4 (cpu)",
        "captions@1.4 (pypi)",
        "tags@3.1 (cpu)",
    ]


def test_prune_removes_what_no_lock_names_and_what_stopped_builds_left(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    kept = environment_for(workshop.package("tags", "3.1", ""))
    gone = environment_for(package := workshop.package("captions", "1.4", "shapes\n"))
    (package / "model.yaml").unlink()
    (workshop.root / f".building-{gone.fingerprint}-x").mkdir()
    removed, in_use = prune(workshop.root, find_packages(workshop.packages))
    assert ([built.path.name for built in removed], in_use) == ([gone.fingerprint], [])
    assert workshop.left_in_root() == [kept.fingerprint]


def test_a_dry_run_removes_nothing(workshop: Workshop) -> None:
    gone = environment_for(package := workshop.package("tags", "3.1", ""))
    (package / "model.yaml").unlink()
    removed, _ = prune(workshop.root, find_packages(workshop.packages), dry_run=True)
    assert [built.path.name for built in removed] == workshop.left_in_root() == [gone.fingerprint]


def test_an_environment_that_a_process_runs_in_is_kept(workshop: Workshop) -> None:
    environment = environment_for(package := workshop.package("tags", "3.1", ""))
    (package / "model.yaml").unlink()
    command = [environment.python, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (built,) = all_built(workshop.root)
        assert running_in(built.path) == [process.pid]
        removed, in_use = prune(workshop.root, find_packages(workshop.packages))
        assert (removed, in_use) == ([], [built])
    finally:
        process.communicate(timeout=30)
    assert workshop.left_in_root() == [environment.fingerprint]


def test_a_build_that_is_running_is_not_pruned_away(workshop: Workshop) -> None:
    staged = workshop.root / ".building-abc-1"
    staged.mkdir(parents=True)
    with only_builder(workshop.root, "abc") as is_ours:
        assert is_ours
        with only_builder(workshop.root, "abc") as is_theirs:
            assert not is_theirs
        prune(workshop.root, find_packages(workshop.packages))
    assert staged.is_dir()


def test_a_root_that_was_never_built_in_is_empty(workshop: Workshop) -> None:
    assert all_built(workshop.root) == []
    assert prune(workshop.root, find_packages(workshop.packages)) == ([], [])
