"""Folders that no version can be called after are said once, and shown as long as they lie there."""

from __future__ import annotations

from pathlib import Path

from deploy.odd_folders import OddFolders


class Lines:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def working(self, text: str | None) -> None:
        pass

    def line(self, state: str, what: str, detail: str = "", problem: str = "") -> None:
        self.said.append((state, what, problem))


def test_a_folder_is_said_once_and_shown_until_it_is_gone() -> None:
    lines = Lines()
    odd = OddFolders(lines)
    there = {Path("/packages/Tags/3.1"): "a name is lower-case"}
    odd.found(there)
    odd.found({**there, Path("/packages/tags/v1"): "named MAJOR.MINOR"})
    assert [what for _, what, _ in lines.said] == ["Tags/3.1", "tags/v1"]
    assert [each.label for each in odd] == ["Tags@3.1", "tags@v1"]
    odd.found({})
    assert list(odd) == []
