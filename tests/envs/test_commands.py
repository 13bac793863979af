"""`crema lock` and `crema env`: what they print and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from crema.cli.env import env
from crema.cli.lock import lock
from envs.builder import environment_for
from envs.record import site_packages

if TYPE_CHECKING:
    import click
    from conftest import Workshop

# They build real virtualenvs, if tiny ones and without a network.
pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def in_the_workshop(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop.folder)


def call(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_lock_makes_both_profiles_and_prints_a_line_for_each(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", profiles=())
    result = call(lock, str(package))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "LOCKED    requirements.cpu.lock  2 packages",
        "LOCKED    requirements.pypi.lock  2 packages",
    ]


def test_lock_ends_with_1_and_the_reason_when_a_profile_has_no_resolution(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", profiles=())
    (package / "requirements.in").write_text("shapes\n")
    result = call(lock, str(package), "--profile", "cpu")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAILED    cpu: requirements.in has no resolution by itself")


def test_lock_tells_programs_the_same(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", profiles=())
    document = json.loads(call(lock, str(package), "--profile", "cpu", "--json").stdout)
    path = str(package / "requirements.cpu.lock")
    assert document["locks"] == [{"state": "locked", "profile": "cpu", "path": path, "packages": 2}]


def test_lock_shows_a_manifest_s_mistakes(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", profiles=())
    (package / "model.yaml").write_text("python: 3.11\n")
    result = call(lock, str(package))
    assert result.exit_code == 1
    assert "model.yaml:1:1: python: must be comparisons" in result.stderr


def test_list_says_what_is_built_and_who_uses_it(workshop: Workshop) -> None:
    assert "nothing is built yet" in call(env, "list").stdout
    environment = environment_for(workshop.package("tags", "3.1", ""))
    (line,) = call(env, "list").stdout.splitlines()
    assert line.startswith(f"READY     {environment.fingerprint}  cpu  Python 3.")
    assert line.endswith("tags@3.1 (cpu)")
    (row,) = json.loads(call(env, "list", "--json").stdout)
    assert (row["state"], row["packages"]) == ("ready", ["tags@3.1 (cpu)"])
    assert row["requirements"] == ["msgpack==1.30", "numpy==1.30"]


def test_list_takes_the_packages_of_a_cluster_file(workshop: Workshop) -> None:
    environment_for(workshop.package("tags", "3.1", ""))
    (workshop.folder / "none").mkdir()
    (workshop.folder / "cluster.yaml").write_text("packages: none\n")
    assert call(env, "list").stdout.startswith("UNUSED")
    assert call(env, "prune").exit_code == 1


def test_verify_finds_a_changed_byte_and_ends_with_1(workshop: Workshop) -> None:
    environment = environment_for(workshop.package("tags", "3.1", ""))
    assert call(env, "verify").exit_code == 0
    with (site_packages(environment.python.parents[1]) / "numpy.py").open("a") as changed:
        changed.write(" ")
    result = call(env, "verify", environment.fingerprint[:6])
    assert result.exit_code == 1
    assert result.stdout.startswith(f"CHANGED   {environment.fingerprint}")
    assert "site-packages/numpy.py: was changed" in result.stdout
    assert "the next step" in result.stderr


def test_verify_refuses_a_fingerprint_that_is_not_there() -> None:
    result = call(env, "verify", "zzz")
    assert result.exit_code == 1
    assert "no virtualenv begins with zzz" in result.stderr


def test_prune_removes_what_no_package_uses(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    environment_for(workshop.package("tags", "3.1", ""))
    gone = environment_for(package := workshop.package("captions", "1.4", "shapes\n"))
    (package / "model.yaml").unlink()
    assert call(env, "prune", "--dry-run").stdout.startswith(f"UNUSED    {gone.fingerprint}")
    assert call(env, "prune").stdout.startswith(f"REMOVED   {gone.fingerprint}")
    assert call(env, "prune").stdout == "every virtualenv is used by a package\n"


def test_outside_of_any_cluster_the_command_asks_for_its_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.wheels)
    result = call(env, "list")
    assert result.exit_code == 2
    assert "name --cluster FILE" in result.stderr
