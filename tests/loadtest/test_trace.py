"""A recorded trace: seconds or dates, in any order, and every line that is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.trace import TraceError, read_trace


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    return path


def test_one_number_a_line_is_seconds(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "0\n0.5\n\n# a remark\n2.25\n")) == [0.0, 0.5, 2.25]


def test_only_the_first_column_counts_and_its_title_is_passed_over(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "time,path\n3,/a\n4,/b\n")) == [3.0, 4.0]


def test_dates_keep_their_distances(tmp_path: Path) -> None:
    moments = read_trace(written(tmp_path, "2026-05-04T10:00:00Z\n2026-05-04T10:00:01.250Z\n"))
    assert moments[1] - moments[0] == pytest.approx(1.25)


def test_lines_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "3\n1\n2\n")) == [1.0, 2.0, 3.0]


def test_every_line_that_is_no_time_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as refused:
        read_trace(written(tmp_path, "1\nsoon\n2\nnan\n"))
    said = str(refused.value)
    assert "calls.csv:2:" in said and "calls.csv:4:" in said and "try:" in said


def test_a_trace_without_times_says_what_one_looks_like(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no times\n  try:"):
        read_trace(written(tmp_path, "# nothing\n"))


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.txt cannot be read"):
        read_trace(tmp_path / "none.txt")
