"""`crema analyze -o`, run again: with the same models, with others, and after Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crema.cli.main import run
from tests.crema.cli.api_server import FULL, FakeApi, answer_of

PATIENCE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos; what is in each is its name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(f"{number}.jpg".encode())
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def command(api: FakeApi, folder: Path, output: Path, *models: str) -> list[str]:
    """What is written on the command line; the API answers for these models, else for `bright`."""
    api.tell = lambda photo: (200, answer_of(*(models or ["bright"])), {})
    asked = ["--models", ",".join(models)] if models else []
    return ["analyze", str(folder), "-o", str(output), "--url", api.url, *asked]


def test_a_file_of_other_models_is_refused_with_both_names_and_the_way_out(
    api: FakeApi, folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(api, folder, output, "bright")) == 0
    before = output.read_bytes()
    api.photos.clear()
    assert run(command(api, folder, output, "tags")) == 2
    said = capsys.readouterr().err
    assert f"{output} holds answers of bright; this run asks tags" in said
    assert f"another file (-o), or delete {output}" in said
    assert "answered before" not in said
    assert (api.photos, output.read_bytes()) == ([], before)


@pytest.mark.parametrize("models", [["bright"], ["bright", "dim", "tags"], ["bright@1", "dim"]], ids=",".join)
def test_fewer_models_more_or_other_selectors_are_other_models(
    api: FakeApi, folder: Path, output: Path, models: list[str]
) -> None:
    assert run(command(api, folder, output, "bright", "dim")) == 0
    assert run(command(api, folder, output, *models)) == 2


def test_the_same_models_in_another_order_go_on(api: FakeApi, folder: Path, output: Path) -> None:
    assert run(command(api, folder, output, "bright", "dim")) == 0
    api.photos.clear()
    assert run([*command(api, folder, output), "--models", " dim, bright "]) == 0
    assert api.photos == []


def test_a_photo_that_was_answered_in_part_counts_as_its_models_too(
    api: FakeApi, folder: Path, output: Path
) -> None:
    arguments = command(api, folder, output, "bright")
    api.tell = lambda photo: (200, {**answer_of("bright"), "status": "partial"}, {})
    assert run(arguments) == 3
    before = output.read_bytes()
    assert run(command(api, folder, output, "tags")) == 2
    assert output.read_bytes() == before


def test_default_models_that_answered_before_are_seen_by_one_photo(
    api: FakeApi, folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(api, folder, output)) == 0
    before = output.read_bytes()
    api.photos.clear()
    assert run(command(api, folder, output)) == 0
    assert "3 answered before" in capsys.readouterr().err
    assert (api.photos, output.read_bytes()) == ([b"0.jpg"], before)


def test_default_models_that_are_others_now_are_refused_also_when_nothing_is_to_do(
    api: FakeApi, folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(api, folder, output, "tags")) == 0
    before = output.read_bytes()
    assert run(command(api, folder, output)) == 2
    assert f"{output} holds answers of tags; this run asks bright" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_default_models_are_compared_too_when_none_of_these_photos_is_in_the_file(
    api: FakeApi, folder: Path, output: Path
) -> None:
    assert run(command(api, folder / "0.jpg", output, "tags")) == 0
    before = output.read_bytes()
    assert run(command(api, folder / "1.jpg", output)) == 2
    assert output.read_bytes() == before


def test_default_models_that_cannot_be_asked_are_an_error_with_the_next_step(
    api: FakeApi, folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(api, folder, output)
    assert run(arguments) == 0
    api.tell = lambda photo: (500, {"code": "internal", "detail": "broken"}, {})
    assert run(arguments) == 1
    said = capsys.readouterr().err
    assert "broken" in said
    assert "--models" in said


def test_a_file_of_something_else_is_not_written_over(
    api: FakeApi, folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output.write_text("models: {}\n")
    assert run(command(api, folder, output)) == 2
    assert "another file" in capsys.readouterr().err
    assert output.read_text() == "models: {}\n"


def test_a_file_that_cannot_be_written_is_said_with_the_next_step(
    api: FakeApi,
    folder: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(photo: str, reply: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crema.cli.records.record_of", full)
    assert run(command(api, folder, output)) == 1
    said = capsys.readouterr().err
    assert f"{output} cannot be written: No space left on device" in said
    assert "the same command goes on where it was" in said


def test_ctrl_c_ends_soon_says_how_to_go_on_and_leaves_a_file_that_goes_on(
    api: FakeApi, folder: Path, output: Path
) -> None:
    arguments = command(api, folder, output, "bright")
    # the last photo waits for a cluster that is full, as long as the cluster says
    api.tell = lambda photo: (
        (429, FULL, {"Retry-After": "25"}) if photo == b"2.jpg" else (200, answer_of("bright"), {})
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "crema.cli", *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + PATIENCE_S
        while b"2.jpg" not in api.photos or len(output.read_text().splitlines()) < 2:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 3
    assert "stopped; 1 photo to go: the same command goes on where it was" in said
    assert "Traceback" not in said
    api.photos.clear()
    assert run(command(api, folder, output, "bright")) == 0
    assert api.photos == [b"2.jpg"]
    assert sorted(Path(json.loads(line)["photo"]).name for line in output.read_text().splitlines()) == [
        "0.jpg",
        "1.jpg",
        "2.jpg",
    ]
