"""The verbs' API key: from a file or the environment, in one header."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from crema.cli.api_key import api_key
from crema.cli.main import run
from tests.crema.cli.api_server import FakeApi


def test_the_file_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_key() is None
    monkeypatch.setenv("CREMA_API_KEY", " crema_a_b\n")
    assert api_key() == "crema_a_b"
    Path("key").write_text("crema_c_d\n")
    assert api_key(Path("key")) == "crema_c_d"


@pytest.mark.parametrize("text", ["", "  \n", "two words", "crema_a\nX-Evil: 1", "ä", "x" * 2000])
def test_what_cannot_be_a_key_is_refused_before_it_is_sent(text: str) -> None:
    Path("key").write_text(text)
    with pytest.raises(click.UsageError):
        api_key(Path("key"))


def test_there_is_no_way_to_give_it_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--key-file FILE" in text
    assert "--key " not in text


def test_analyze_sends_it(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    Path("key").write_text("crema_c_d\n")
    run(["analyze", "photo.jpg", "--url", api.url, "--key-file", "key"])
    assert [each["Authorization"] for each in api.headers] == ["Bearer crema_c_d"]
