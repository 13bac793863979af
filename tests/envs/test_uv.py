"""Where packages come from: what pip was told here is handed to uv, and find-links never reach the plain profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from envs.uv import CommandFailed, milestones, pip_settings, run, shortened, sources

BARE = {"PIP_CONFIG_FILE": os.devnull, "PATH": "/usr/bin"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ()),
        ({"PIP_FIND_LINKS": "/wheels https://example.com/cpu"}, ("/wheels", "https://example.com/cpu")),
        ({"UV_FIND_LINKS": "/a,/b", "PIP_FIND_LINKS": "/wheels"}, ("/a", "/b")),
        ({"UV_FIND_LINKS": "", "PIP_FIND_LINKS": "/wheels"}, ("/wheels",)),
    ],
)
def test_find_links_are_uv_s_or_else_pip_s(environ: dict[str, str], expected: tuple[str, ...]) -> None:
    assert sources("cpu", BARE | environ).find_links == expected


def test_find_links_of_pip_s_configuration_come_last(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links =\n    /one\n    /two\nindex-url = https://example.com/simple\n[install]\ncert = /c.pem\n"
    )
    found = sources("cpu", {"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path)})
    assert found.find_links[-2:] == ("/one", "/two")
    assert found.arguments[-4:] == ["--find-links", "/one", "--find-links", "/two"]
    assert found.environment["UV_DEFAULT_INDEX"] == "https://example.com/simple"
    assert found.environment["SSL_CERT_FILE"] == "/c.pem"


def test_the_plain_profile_has_no_find_links() -> None:
    found = sources("pypi", BARE | {"UV_FIND_LINKS": "/a", "PIP_FIND_LINKS": "/b"})
    assert found.find_links == ()
    assert "UV_FIND_LINKS" not in found.environment
    assert "PIP_FIND_LINKS" not in found.environment


def test_an_index_that_uv_was_told_about_stays() -> None:
    told = BARE | {"UV_INDEX_URL": "https://a.example", "PIP_INDEX_URL": "https://b.example"}
    assert "UV_DEFAULT_INDEX" not in sources("cpu", told).environment


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sources("cpu", BARE | {"UV_FIND_LINKS": "wheels"}).find_links == (str(tmp_path / "wheels"),)


def test_uv_never_downloads_an_interpreter_and_forgets_the_virtualenv_it_runs_in() -> None:
    environment = sources(
        "cpu", BARE | {"VIRTUAL_ENV": "/v", "UV_PYTHON": "3.9", "PYTHONPATH": "/p"}
    ).environment
    assert environment["UV_PYTHON_DOWNLOADS"] == "never"
    assert not {"VIRTUAL_ENV", "UV_PYTHON", "PYTHONPATH"} & set(environment)


def test_pip_s_configuration_can_be_switched_off() -> None:
    assert pip_settings({"PIP_CONFIG_FILE": os.devnull}) == {}


def test_a_broken_pip_configuration_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("find-links = without a section")
    without = {"HOME": str(tmp_path)}
    assert pip_settings(without | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}) == pip_settings(without)


def test_a_command_s_lines_are_told_as_they_come() -> None:
    told: list[str] = []
    assert (
        run([sys.executable, "-c", "print('one');print();print(' two')"], os.environ, told.append)
        == "one\n\n two\n"
    )
    assert told == ["one", "two"]


def test_a_command_that_fails_says_everything_it_said() -> None:
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "print('no'); raise SystemExit(3)"], os.environ, lambda line: None)
    assert (caught.value.output, caught.value.status) == ("no\n", 3)


def test_milestones_are_the_lines_that_tell_how_far_it_is() -> None:
    told: list[str] = []
    for line in ("Using Python 3.11", "Resolved 3 packages", "+ numpy==1", "Downloading torch (181.5MiB)"):
        milestones(told.append)(line)
    assert told == ["Resolved 3 packages", "Downloading torch (181.5MiB)"]


def test_what_uv_said_is_shortened_to_its_reasons() -> None:
    said = (
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because a\n      and b\n"
        + "      more\n" * 20
    )
    lines = shortened(said).splitlines()
    assert lines[:2] == ["    Because a", "    and b"]
    assert lines[-1] == "    … 10 more lines"
