"""Records: one line per photo, whatever interrupted the run before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crema.cli.api import Reply
from crema.cli.records import InUse, NotRecords, OtherModels, Records

OK = Reply(200, {"status": "ok", "results": {}})
PART = Reply(200, {"status": "partial", "results": {}})
BAD = Reply(422, {"code": "undecodable_image"})


def of(*models: str, status: str = "ok") -> Reply:
    return Reply(200, {"status": status, "results": {model: {} for model in models}})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_a_line_says_photo_status_and_answer_or_problem(path: Path) -> None:
    with Records(path) as records:
        records.add("a.jpg", OK)
        records.add("b.jpg", PART)
        records.add("ü.jpg", BAD)
    assert lines(path) == [
        {"photo": "a.jpg", "status": "ok", "answer": OK.body},
        {"photo": "b.jpg", "status": "partial", "answer": PART.body},
        {"photo": "ü.jpg", "status": "failed", "problem": BAD.body},
    ]


def test_only_answered_photos_are_skipped_and_the_others_lines_go(path: Path) -> None:
    with Records(path) as records:
        for name, reply in (("a", OK), ("b", PART), ("c", BAD), ("d", OK)):
            records.add(name, reply)
    with Records(path) as again:
        assert again.answered == {"a", "d"}
        again.add("b", OK)
    assert [line["photo"] for line in lines(path)] == ["a", "d", "b"]


@pytest.mark.parametrize(
    "torn",
    [b'{"photo": "b", "sta', b"\xff\xfe", b'{"photo": "b", "status": "ok", "answer": {}}', b"{}\n", b"\n"],
)
def test_what_an_interrupted_run_left_half_written_is_repaired(path: Path, torn: bytes) -> None:
    with Records(path) as records:
        records.add("a", OK)
    with path.open("ab") as file:
        file.write(torn)
    with Records(path) as again:
        assert again.answered == {"a"}
        again.add("b", OK)
    assert [line["photo"] for line in lines(path)] == ["a", "b"]


def test_a_clean_file_is_appended_to_and_not_rewritten(path: Path) -> None:
    with Records(path) as records:
        records.add("a", OK)
    before = path.stat().st_ino
    with Records(path) as again:
        again.add("b", OK)
    assert path.stat().st_ino == before


def test_a_line_is_in_the_file_as_soon_as_it_is_added(path: Path) -> None:
    with Records(path) as records:
        records.add("a", OK)
        assert len(lines(path)) == 1


def test_two_runs_do_not_write_one_file(path: Path) -> None:
    with Records(path) as records:
        records.add("a", BAD)
    with Records(path), pytest.raises(InUse, match="another run"), Records(path):
        pass


def test_a_file_without_a_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), Records(tmp_path / "none" / "out.jsonl"):
        pass


def test_answers_of_other_models_are_told_with_both_names(path: Path) -> None:
    with Records(path) as records:
        records.add("a", of("bright", "dim"))
    with Records(path) as again, pytest.raises(OtherModels, match="of bright,dim; this run asks tags"):
        again.check(["tags"])


def test_the_order_of_the_models_does_not_matter(path: Path) -> None:
    with Records(path) as records:
        records.add("a", of("bright", "dim"))
        records.add("b", of("dim", "bright"))
    with Records(path) as again:
        again.check(["dim", "bright"])


def test_problems_are_of_no_models(path: Path) -> None:
    with Records(path) as records:
        records.add("a", BAD)
    with Records(path) as again:
        again.check(["tags"])


def test_an_answer_of_other_models_is_not_added(path: Path) -> None:
    with Records(path) as records:
        records.add("a", of("bright"))
        with pytest.raises(OtherModels):
            records.add("b", of("tags"))
    assert [line["photo"] for line in lines(path)] == ["a"]


def test_a_file_put_together_of_two_runs_names_both(path: Path) -> None:
    with Records(path) as records:
        records.add("a", of("bright"))
    with path.open("a") as file:
        file.write('{"photo":"b","status":"ok","answer":{"results":{"dim":{}}}}\n')
    with Records(path) as again, pytest.raises(OtherModels, match="of bright and of dim; this run asks dim"):
        again.check(["dim"])


def test_a_run_that_is_refused_leaves_also_what_would_have_been_done_again(path: Path) -> None:
    with Records(path) as records:
        records.add("a", of("bright", status="partial"))
        records.add("b", BAD)
    before = path.read_bytes()
    with pytest.raises(OtherModels), Records(path) as again:
        again.check(["tags"])
    assert path.read_bytes() == before


def test_what_must_go_is_gone_after_a_run_that_added_nothing(path: Path) -> None:
    with Records(path) as records:
        records.add("a", OK)
        records.add("b", BAD)
    with Records(path):
        pass
    assert [line["photo"] for line in lines(path)] == ["a"]


@pytest.mark.parametrize("other", [b"\xff\xd8\xff\n", b"models:\n", b'{"id":1}\n', b'{"photo"'[:-1] + b"s"])
def test_a_file_of_something_else_is_left_as_it_is(path: Path, other: bytes) -> None:
    path.write_bytes(other)
    with pytest.raises(NotRecords, match="not a file of answers"), Records(path):
        pass
    assert path.read_bytes() == other


@pytest.mark.parametrize("start", [b"", b'{"ph', b'{"photo":"a","sta'])
def test_a_first_line_that_was_not_finished_is_ours(path: Path, start: bytes) -> None:
    path.write_bytes(start)
    with Records(path) as records:
        records.add("a", OK)
    assert len(lines(path)) == 1


def test_a_device_is_no_file_to_go_on_with() -> None:
    with pytest.raises(NotRecords, match="not a plain file"), Records(Path("/dev/zero")):
        pass
