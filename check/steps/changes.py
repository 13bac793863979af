"""Step `changes`: CHANGES.md says what this version changed."""

from __future__ import annotations

import re
from pathlib import Path

from check.failure import StepFailed
from check.subject import Subject

CHANGES_NAME = "CHANGES.md"

_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FENCE = re.compile(r"\s*(```|~~~)")


def check_changes(subject: Subject) -> str:
    """There is a section that names the version, and it is not empty."""
    version = subject.manifest.version
    path = subject.folder / CHANGES_NAME
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StepFailed(
            f"there is no {CHANGES_NAME}",
            hint=f"write one with a section `## {version}` that says what changed",
        ) from None
    except (OSError, ValueError) as error:
        raise StepFailed(f"{CHANGES_NAME} cannot be read: {error}") from None
    section = section_of(text, version)
    if section is None:
        raise StepFailed(
            f"{CHANGES_NAME} has no section that names {version}",
            hint=f"a heading `## {version}` and what changed against the version before",
        )
    if not section:
        raise StepFailed(
            f"{CHANGES_NAME}: the section of {version} is empty",
            hint="say what changed against the version before",
        )
    return f"{CHANGES_NAME} says: {section[0][:60]}"


def section_of(text: str, version: str) -> list[str] | None:
    """The lines with words under the heading that names `version`; None when no heading does. 3.1 is not 3.10.

    What stands in a comment is not read: a template's `<!-- what changed -->` says nothing.
    """
    named = re.compile(rf"(?<![\d.])v?{re.escape(version)}(?!\.?\d)")
    lines: list[str] | None = None
    level, is_code = 0, False
    for line in _COMMENT.sub("", text).splitlines():
        if _FENCE.match(line):
            is_code = not is_code
        heading = None if is_code else _HEADING.match(line)
        if heading is not None:
            if lines is not None and len(heading[1]) <= level:
                break
            if lines is None and named.search(heading[2]):
                lines, level = [], len(heading[1])
            continue
        if lines is not None and re.search(r"\w", line):
            lines.append(re.sub(r"^[\s*+-]+", "", line).strip())
    return lines


def has_section(package_dir: Path, version: str) -> bool:
    """Whether the package says what that version changed."""
    try:
        return bool(section_of((package_dir / CHANGES_NAME).read_text(encoding="utf-8-sig"), version))
    except (OSError, ValueError):
        return False
