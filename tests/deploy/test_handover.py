"""Handovers: a check is another program; what it says, how it ends, and when it is not run at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crema.host.development import PYTHON_VARIABLE
from deploy.handover import NICENESS, Handover, Handovers

DIGEST = "d" * 64
FAILED = {
    "passed": False,
    "digest": DIGEST,
    "steps": [
        {"name": "manifest", "status": "ok", "message": ""},
        {
            "name": "load",
            "status": "failed",
            "message": "ValueError: no weights",
            "detail": "Traceback\n  model.py",
        },
        {"name": "golden", "status": "skipped", "message": ""},
    ],
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)


async def checked(tmp_path: Path, program: str, *, timeout_s: float = 20.0) -> tuple[Handover, list[str]]:
    """What a check says that is this Python program; the words of progress."""
    said: list[str] = []
    command = (sys.executable, "-c", program)
    handovers = Handovers(tmp_path / "state", tmp_path / "cluster.yaml", command, timeout_s)
    return await handovers.of(tmp_path / "toy" / "1.0", DIGEST, said.append), said


def saying(report: object, status: int = 0) -> str:
    return f"import sys; print({json.dumps(json.dumps(report))}); sys.exit({status})"


async def test_a_package_that_passes_has_passed(tmp_path: Path) -> None:
    handover, said = await checked(tmp_path, saying({"passed": True, "digest": DIGEST, "steps": []}))
    assert handover == Handover(True, DIGEST)
    assert said == ["checking"]


async def test_the_check_is_told_the_package_and_the_cluster(tmp_path: Path) -> None:
    program = "import sys; sys.exit(' '.join(sys.argv[1:]))"
    handover, _ = await checked(tmp_path, program)
    assert handover.problem == f"{tmp_path}/toy/1.0 --json --cluster {tmp_path}/cluster.yaml"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no groups of sessions")
async def test_a_check_lets_those_who_serve_have_the_cores(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
for _ in range(10_000_000):
    said = Path("/proc/self/autogroup").read_text().split()[-1]
    if said != "0":
        break
sys.exit(said)
"""
    handover, _ = await checked(tmp_path, program)
    assert handover.problem == str(NICENESS)


async def test_the_first_failed_step_is_the_reason_and_its_traceback_stands_under_it(tmp_path: Path) -> None:
    handover, _ = await checked(tmp_path, saying(FAILED, 1))
    assert (handover.passed, handover.problem) == (False, "load: ValueError: no weights")
    assert handover.detail == "Traceback\n  model.py"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import sys; print('no such package', file=sys.stderr); sys.exit(1)", "no such package"),
        ("import os; os.kill(os.getpid(), 9)", "the check ended with status -9"),
        (saying({"passed": True, "digest": "e" * 64, "steps": []}), "files changed while it was checked"),
        (saying({"passed": True, "digest": DIGEST, "steps": []}, 1), "the check ended with status 1"),
        (saying([7]), "the check ended with status 0"),
    ],
)
async def test_a_check_that_does_not_say_passed_was_not_passed(
    tmp_path: Path, program: str, problem: str
) -> None:
    handover, _ = await checked(tmp_path, program)
    assert not handover.passed
    assert problem in handover.problem


async def test_a_check_that_does_not_end_is_ended(tmp_path: Path) -> None:
    handover, _ = await checked(tmp_path, "import time; time.sleep(60)", timeout_s=0.2)
    assert "did not end" in handover.problem


@pytest.mark.parametrize("place", ["state/checks", "cache/crema/checks"])
async def test_a_package_that_passed_before_is_not_checked_again(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.json").write_text(json.dumps({"passed": True, "digest": DIGEST}))
    handover, said = await checked(tmp_path, saying(FAILED, 1))
    assert (handover.passed, handover.is_stored, said) == (True, True, [])


async def test_a_report_made_in_another_python_counts_only_while_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state" / "checks-development"
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.json").write_text(json.dumps({"passed": True, "digest": DIGEST}))
    assert not (await checked(tmp_path, saying(FAILED, 1)))[0].passed
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert (await checked(tmp_path, saying(FAILED, 1)))[0].passed


async def test_a_report_of_a_package_that_failed_is_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "checks"
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.json").write_text(json.dumps(FAILED))
    assert (await checked(tmp_path, saying({"passed": True, "digest": DIGEST, "steps": []})))[0].passed
