"""The `crema` command itself: quick, lazy, and never without a next step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from crema import __version__
from crema.cli.main import VERBS, cli, run

HEAVY = (
    "aiohttp",
    "asyncio",
    "numpy",
    "pydantic",
    "rich",
    "uvloop",
    "yaml",
    "msgpack",
    "structlog",
    "envs",
    "deploy",
)


def imported_by(*arguments: str) -> set[str]:
    """The names of all modules after `crema ARGUMENTS` in a fresh interpreter."""
    code = (
        "import sys; from crema.cli.main import run; "
        f"run({list(arguments)!r}); print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return {name.partition(".")[0] for name in done.stderr.splitlines()} | set(done.stderr.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["analyze", "--help"], ["up", "--help"], ["loadtest", "--help"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported_by(*arguments).isdisjoint(HEAVY)


def test_the_list_of_verbs_imports_none_of_them() -> None:
    modules = {f"crema.cli.{verb}" for verb in VERBS} | {"crema.cli.try_"}
    assert not modules & imported_by("--help")


def test_help_lists_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name}" in printed
        assert verb.summary.split()[0] in printed


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_a_command_of_its_name_with_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", VERBS)
def test_the_example_of_a_verb_calls_that_verb(name: str) -> None:
    assert VERBS[name].example.split()[:2] == ["crema", name]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"crema {__version__}\n"


def test_a_verb_that_is_not_there_suggests_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["statsu"]) == 2
    assert "did you mean status?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["analyze"], ["analyze", "--nonsense", "x"], ["up", "a", "b"], ["status", "--cluster"]],
    ids=" ".join,
)
def test_wrong_use_exits_with_2_and_an_example_that_works(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert f"example: {VERBS[arguments[0]].example}" in said
    assert f"crema {arguments[0]} --help" in said


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_an_interrupted_verb_fails_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.running_cluster.find_cluster", interrupted)
    assert run(["status"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_output_is_no_error_worth_a_traceback() -> None:
    code = "from crema.cli.main import run; import sys; sys.exit(run(['--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)


def test_the_group_is_a_plain_click_group_for_who_embeds_it() -> None:
    assert isinstance(cli, click.Group)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told_without_a_traceback() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "crema.cli", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "crema: No space left on device\n  make room, and try again\n"
