"""Clash: what a package wants and what crema's worker needs exclude each other; whose wish is whose, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from envs.lock_file import BASE_REQUIREMENTS, REQUIREMENTS_NAME, wishes

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# Each is resolved once more to find the one to blame.
_MOST_WISHES: Final = 30


def base_wishes() -> list[str]:
    """What crema's worker needs in every package's environment."""
    return wishes(BASE_REQUIREMENTS.read_text(encoding="utf-8"))


def package_wishes(folder: Path) -> list[str]:
    """What the requirements.in in `folder` wants."""
    return wishes((folder / REQUIREMENTS_NAME).read_text(encoding="utf-8-sig"))


def project_name(wish: str) -> str:
    """`Foo.Bar[x]>=1` → `foo-bar`: the name as package indexes compare it."""
    match = _NAME.match(wish)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else wish


def clash(wanted: Sequence[str], said: str, resolves: Callable[[str], bool]) -> str:
    """Names the wishes that exclude each other. `wanted` are the package's, `said` is what the resolver said of both
    together, `resolves` says whether one of the package's wishes can be had with crema's alone.
    """
    ours = {project_name(wish): wish for wish in base_wishes()}
    theirs = {project_name(wish): wish for wish in wanted}
    sides = []
    blamed: list[str] | None = None
    for name, wish in ours.items():
        if name in theirs:
            sides.append(
                f"  the package wants  {theirs[name]}   (its requirements.in)\n  crema needs        {wish}   (envs/base.in)"
            )
        elif re.search(rf"\b{re.escape(name)}\b", said):
            if blamed is None:
                blamed = [one for one in wanted[:_MOST_WISHES] if not resolves(one)]
            for one in blamed:
                sides.append(
                    f"  the package wants  {one}   (its requirements.in), and that excludes the next line"
                )
            if not blamed:
                sides.append("  some wishes of the package's requirements.in together exclude the next line")
            sides.append(f"  crema needs        {wish}   (envs/base.in)")
    return "\n".join(
        [
            "requirements.in and crema's own envs/base.in exclude each other",
            *(sides or [f"  crema needs {', '.join(ours.values())} (envs/base.in)"]),
            said,
            "  try: a newer version of what holds the package back; crema's bounds are the lowest that its worker runs with",
        ]
    )
