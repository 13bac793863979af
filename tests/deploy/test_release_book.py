"""ReleaseBook: what a cluster begins with, from its file, from what was released before, and from what is still there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.pointers import Line, Pointers
from deploy.release_book import MEMBER, ReleaseBook, first_versions
from tests.deploy.toy_cluster import resolved, write_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1.0", "1.1", "1.2"):
        write_package(tmp_path, "toy", version)
    return tmp_path


def routing_of(book: ReleaseBook, line: Line) -> dict[str, Any]:
    """What the routing file would keep after the line was put down."""
    book.put("toy", line)
    return {MEMBER: book.document()}


def listed(folder: Path, book: ReleaseBook, more: str = "") -> list[str]:
    return [served.label for served in first_versions(resolved(folder, more), book)]


FILE = 'models: {toy: {default: "1.0", labels: {next: "1.1"}, versions: {"1.0": {}, "1.1": {canary: 5%}}}}\n'


def test_it_begins_with_what_the_cluster_file_says(folder: Path) -> None:
    book = ReleaseBook(resolved(folder, FILE), None)
    assert book.now("toy") == Pointers("1.0", {"1.0": None, "1.1": 5.0}, {"next": "1.1"})
    assert book.canaries() == [("toy", "1.1", 5.0)]
    assert book.document() == {}
    assert listed(folder, book, FILE) == ["toy@1.0", "toy@1.1"]


def test_what_was_released_comes_back_at_the_next_start(folder: Path) -> None:
    cluster = resolved(folder, FILE)
    book = ReleaseBook(cluster, None)
    line = book.first("toy")
    line = line.moved(line.now.beside("1.2").promote("1.2"))
    again = ReleaseBook(cluster, routing_of(book, line))
    assert again.line("toy") == line
    assert listed(folder, again, FILE) == ["toy@1.0", "toy@1.1", "toy@1.2"]


def test_a_section_of_the_file_that_was_changed_since_wins(folder: Path) -> None:
    book = ReleaseBook(resolved(folder, FILE), None)
    line = book.first("toy")
    kept = routing_of(book, line.moved(line.now.beside("1.2").promote("1.2")))
    changed = resolved(folder, FILE.replace("5%", "10%"))
    assert ReleaseBook(changed, kept).default("toy") == "1.0"


def test_a_version_whose_package_went_away_is_left_out(folder: Path) -> None:
    cluster = resolved(folder, FILE)
    book = ReleaseBook(cluster, None)
    line = book.first("toy")
    kept = routing_of(book, line.moved(line.now.beside("1.2")))
    shutil.rmtree(folder / "model_packages" / "toy" / "1.2")
    again = ReleaseBook(cluster, kept)
    assert listed(folder, again, FILE) == ["toy@1.0", "toy@1.1"]


def test_when_the_default_went_away_the_file_counts_again(folder: Path) -> None:
    cluster = resolved(folder, FILE)
    book = ReleaseBook(cluster, None)
    line = book.first("toy")
    kept = routing_of(book, line.moved(line.now.beside("1.2").promote("1.2")))
    shutil.rmtree(folder / "model_packages" / "toy" / "1.2")
    again = ReleaseBook(cluster, kept)
    first_versions(cluster, again)
    assert again.now("toy") == book.first("toy").now


def test_a_version_that_was_retired_is_not_started_and_can_be_had_back(folder: Path) -> None:
    more = 'models: {toy: {default: "1.0", versions: {"1.0": {}, "1.1": {}}}}\n'
    cluster = resolved(folder, more)
    book = ReleaseBook(cluster, None)
    line = book.first("toy")
    again = ReleaseBook(cluster, routing_of(book, line.moved(line.now.retire("1.1"))))
    assert listed(folder, again, more) == ["toy@1.0"]
    kept = again.line("toy")
    assert kept is not None
    assert "1.1" in kept.back().now.shares


def test_what_is_not_understood_is_as_if_it_were_not_there(folder: Path) -> None:
    cluster = resolved(folder, FILE)
    for broken in ({MEMBER: {"toy": {"now": 7}}}, {MEMBER: []}, {MEMBER: {"toy": None}}, {}):
        assert ReleaseBook(cluster, broken).default("toy") == "1.0"
