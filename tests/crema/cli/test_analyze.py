"""`crema analyze` against an API that answers as it is told: output, options, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crema.cli.main import run
from tests.crema.cli.api_server import ANSWER, FULL, FakeApi

PART = {**ANSWER, "status": "partial"}
UNDECODABLE = {"title": "x", "status": 422, "code": "undecodable_image", "detail": "not a photo"}


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_a_photo_is_shown_as_a_table(
    api: FakeApi, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", str(photos[0]), "--url", api.url]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["OK", "OK"]


def test_options_reach_the_api(api: FakeApi, photos: list[Path]) -> None:
    run(
        [
            "analyze",
            str(photos[0]),
            "--url",
            api.url,
            "--models",
            "a,b@1",
            "--deadline-ms",
            "300",
            "--lane",
            "bulk",
        ]
    )
    assert api.queries == [{"models": ["a,b@1"], "deadline_ms": ["300"], "lane": ["bulk"]}]


def test_what_is_not_said_is_left_to_the_cluster(api: FakeApi, photos: list[Path]) -> None:
    run(["analyze", str(photos[0]), "--url", api.url])
    assert api.queries == [{}]


def test_json_is_one_line_per_photo_in_the_order_given(
    api: FakeApi, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", *map(str, reversed(photos)), "--json", "--url", api.url]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["photo"] for line in lines] == [str(path) for path in reversed(photos)]
    assert lines[0]["results"] == ANSWER["results"]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([200, 200, 200], 0),
        ([200, 422, 200], 3),
        ([422, 422, 422], 1),
        ([206, 200, 200], 3),
        ([206, 206, 206], 3),
    ],
    ids=["all", "one failed", "none", "one partial", "all partial"],
)
def test_the_exit_code_says_how_many_were_answered(
    api: FakeApi, photos: list[Path], statuses: list[int], code: int
) -> None:
    # 206 stands for an answer that is partial
    bodies = {200: (200, ANSWER, {}), 206: (200, PART, {}), 422: (422, UNDECODABLE, {})}
    api.tell = lambda photo: bodies[statuses[int(photo[:1])]]  # type: ignore[return-value]
    assert run(["analyze", *map(str, photos), "--url", api.url]) == code


def test_a_folder_is_written_as_one_line_per_photo_in_the_bulk_lane(
    api: FakeApi, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"
    assert run(["analyze", str(photos[0].parent), "-o", str(output), "--url", api.url]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(line["photo"] for line in lines) == [str(path) for path in photos]
    assert all(query["lane"] == ["bulk"] for query in api.queries)
    assert "3 ok" in capsys.readouterr().err


def test_a_second_run_sends_only_what_was_not_answered(
    api: FakeApi, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyze", str(photos[0].parent), "-o", str(tmp_path / "out.jsonl"), "--url", api.url]
    api.tell = lambda photo: (422, UNDECODABLE, {}) if photo == b"1.jpg" else (200, ANSWER, {})
    assert run(arguments) == 3
    assert "the same command sends these photos again" in capsys.readouterr().err
    api.photos.clear()
    api.tell = lambda photo: (200, ANSWER, {})
    assert run([*arguments, "--models", "tags"]) == 0
    assert api.photos == [b"1.jpg"]
    assert run([*arguments, "--models", "tags"]) == 0
    assert api.photos == [b"1.jpg"]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_a_backfill_waits_when_the_cluster_is_full(
    api: FakeApi, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: set[bytes] = set()

    def tell(photo: bytes) -> tuple[int, object, dict[str, str]]:
        if photo in refused:
            return 200, ANSWER, {}
        refused.add(photo)
        return 429, FULL, {"Retry-After": "1"}

    api.tell = tell
    monkeypatch.setattr("crema.cli.send.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("crema.cli.send.LONGEST_WAIT_S", 0.01)
    assert run(["analyze", str(photos[0].parent), "-o", str(tmp_path / "out.jsonl"), "--url", api.url]) == 0
    assert len(api.photos) == 6


def test_a_cluster_that_went_away_ends_a_backfill_that_can_go_on(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crema.cli.send.LONGEST_WAIT_S", 0.001)
    output = tmp_path / "out.jsonl"
    assert run(["analyze", str(photos[0].parent), "-o", str(output), "--url", "http://127.0.0.1:1"]) == 1
    assert "3 photos to go: the same command goes on" in capsys.readouterr().err
    assert output.read_text() == ""


def test_no_cluster_is_said_with_the_next_step(
    photos: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crema.cli.send.LONGEST_WAIT_S", 0.001)
    assert run(["analyze", str(photos[0]), "--url", "http://127.0.0.1:1"]) == 1
    assert "crema up" in capsys.readouterr().err


def test_a_cluster_file_whose_cluster_does_not_run_is_an_error(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", str(photos[0]), "--cluster", str(tmp_path / "cluster.yaml")]) == 1
    assert f"crema up {tmp_path / 'cluster.yaml'}" in capsys.readouterr().err


def test_a_folder_without_photos_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["analyze", str(tmp_path / "empty")]) == 1
    said = capsys.readouterr().err
    assert "no photos" in said
    assert "name another folder" in said


@pytest.mark.parametrize(
    "wrong",
    [
        ["--url", "x://y"],
        ["--url", "http://a", "--cluster", "b"],
        ["--lane", "fast"],
        ["--deadline-ms", "0"],
        ["--json", "-o", "x"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_are_wrong_use(photos: list[Path], wrong: list[str]) -> None:
    assert run(["analyze", str(photos[0]), *wrong]) == 2


@pytest.mark.parametrize("name", ["nowhere.jpg", "no/such/folder"])
def test_what_is_not_there_is_wrong_use(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", name]) == 2
    said = capsys.readouterr().err
    assert f"'{name}' does not exist" in said
    assert "example: crema analyze" in said


def test_a_photo_that_cannot_be_read_is_said_with_the_next_step(
    api: FakeApi, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos[0].unlink()
    photos[0].symlink_to("nowhere")
    assert run(["analyze", str(photos[0].parent), "--url", api.url]) == 3
    printed = capsys.readouterr()
    assert "The file cannot be read: No such file or directory" in printed.out
    assert "make the file readable" in printed.err


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_gap(
    photos: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(named: object) -> list[Path]:
        raise PermissionError(13, "Permission denied", "photos/private")

    monkeypatch.setattr("crema.cli.photos.find_photos", refused)
    assert run(["analyze", str(photos[0].parent)]) == 1
    said = capsys.readouterr().err
    assert "photos/private cannot be read: Permission denied" in said
    assert "make it readable" in said


def test_an_output_in_a_folder_that_is_not_there_is_wrong_use_before_anything_is_sent(
    api: FakeApi, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "no folder" / "out.jsonl"
    assert run(["analyze", str(photos[0]), "-o", str(output), "--url", api.url]) == 2
    assert f"mkdir -p '{output.parent}'" in capsys.readouterr().err
    assert api.photos == []


def test_the_help_says_that_a_file_is_of_one_set_of_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "--help"]) == 0
    assert "answers of one set of models" in " ".join(capsys.readouterr().out.split())
