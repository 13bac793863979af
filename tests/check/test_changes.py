"""CHANGES.md: which lines are about a version."""

from __future__ import annotations

import pytest

from check.steps.changes import section_of


@pytest.mark.parametrize(
    "heading", ["## 3.1", "# 3.1", "### Version 3.1 (May)", "## v3.1", "## [3.1] - 2026-01-01"]
)
def test_a_heading_that_names_the_version_opens_its_section(heading: str) -> None:
    assert section_of(f"# Changes\n\n{heading}\n\n- Faster.\n", "3.1") == ["Faster."]


@pytest.mark.parametrize("heading", ["## 3.10", "## 3.1.1", "## 13.1", "## 2.3.1", "3.1"])
def test_another_version_s_heading_does_not(heading: str) -> None:
    assert section_of(f"{heading}\n\nFaster.\n", "3.1") is None


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    assert section_of("## 3.1\n\n### Fixed\n\nOne.\n\n## 3.0\n\nTwo.\n", "3.1") == ["One."]


def test_a_section_without_words_is_empty() -> None:
    assert section_of("## 3.1\n\n---\n\n## 3.0\n\nTwo.\n", "3.1") == []


def test_a_comment_says_nothing() -> None:
    assert section_of("## 3.1\n\n<!-- what\nchanged -->\n", "3.1") == []


def test_a_heading_inside_code_is_none() -> None:
    assert section_of("```\n## 3.1\n```\nText.\n", "3.1") is None
