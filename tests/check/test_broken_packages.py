"""At least thirty broken packages, one defect each: refused by the right step, with the right reason in the first line."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from check.checklist import check_package
from crema.cli.check import lines_of
from tests.check.defects import IN_A_WORKER, IN_PROCESS, Defect, with_load
from tests.check.package_maker import write_package


def refuse(defect: Defect, folder: Path) -> None:
    """Checks the broken package; the first line says which step refused it and why."""
    report = check_package(defect.make(folder / "packages"))
    first = click.unstyle(lines_of(report, str(folder), "nowhere")[0])
    assert not report.passed
    assert report.first_failed is not None
    assert (report.first_failed.name, first.split()[0]) == (defect.step, "FAILED"), first
    assert re.search(defect.reason, first)


@pytest.mark.parametrize("defect", IN_PROCESS, ids=lambda defect: defect.name)
def test_a_broken_package_is_refused_before_any_of_its_code_runs(
    defect: Defect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if defect.step == "weights":
        monkeypatch.setenv("CREMA_ENV_PYTHON", "/bin/false")  # an environment that could run nothing
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setattr("check.probe.Probe.load", lambda *_: pytest.fail("the package's code was run"))
    refuse(defect, tmp_path)


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
@pytest.mark.parametrize("defect", IN_A_WORKER, ids=lambda defect: defect.name)
def test_a_broken_package_is_refused_by_running_it(defect: Defect, tmp_path: Path) -> None:
    refuse(defect, tmp_path)


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_a_reach_for_the_network_fails_the_step_that_saw_it_and_none_after_it(tmp_path: Path) -> None:
    made = with_load(
        "import socket\n        try: socket.create_connection(('192.0.2.1', 80), 1)\n        except OSError: pass"
    )
    report = check_package(made(tmp_path / "packages"))
    assert [step.name for step in report.steps if step.status == "failed"] == ["load"]


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_the_sound_package_that_the_broken_ones_are_made_of_passes(tmp_path: Path) -> None:
    report = check_package(write_package(tmp_path / "packages"))
    assert report.first_failed is None
    assert {step.status for step in report.steps} == {"ok"}


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_a_minor_step_with_other_code_and_the_same_answers_passes(tmp_path: Path) -> None:
    for version in ("1.2", "1.9", "1.10"):
        package = write_package(tmp_path / "packages", version=version)
    report = check_package(package)
    assert report.passed
    assert report.steps[-1].message.startswith("answers as 1.9 on ")
