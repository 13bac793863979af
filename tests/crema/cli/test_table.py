"""Tables: aligned, state first, problem last."""

from __future__ import annotations

import click
import pytest

from crema.cli.table import aligned


def plain(rows: list[tuple[str, ...]]) -> list[str]:
    return [click.unstyle(line) for line in aligned(rows)]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert plain([("READY", "tags@3.1", "pid 1", ""), ("FAILED", "x", "pid 100", "no weights")]) == [
        "READY     tags@3.1  pid 1",
        "FAILED    x         pid 100  no weights",
    ]


def test_a_column_that_is_empty_everywhere_takes_no_room() -> None:
    assert plain([("OK", "a", "", "b"), ("OK", "c", "", "d")]) == ["OK        a  b", "OK        c  d"]


def test_no_rows_are_no_lines() -> None:
    assert plain([]) == []


def test_no_color_leaves_states_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert aligned([["READY", "tags@3.1"]]) == ["READY     tags@3.1"]
