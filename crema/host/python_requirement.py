"""PythonRequirement: which Pythons a package wants (`>=3.11,<3.13`), in the part of PEP 440 that a release number needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d{1,4}(?:\.\d{1,4}){0,2})(\.\*)?\s*\Z")

Release = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PythonRequirement:
    """Clauses that must all hold. `text` is the requirement as it was written."""

    text: str
    clauses: tuple[tuple[str, Release, bool], ...]

    @classmethod
    def parse(cls, text: str) -> PythonRequirement:
        """Raises ValueError with an example for anything that is not a comma-separated list of comparisons."""
        clauses = []
        for part in text.split(","):
            match = _CLAUSE.match(part)
            if (
                match is None
                or (match[3] and match[1] not in ("==", "!="))
                or (match[1] == "~=" and "." not in match[2])
            ):
                raise ValueError("must be comparisons with Python releases, for instance >=3.11,<3.13")
            clauses.append((match[1], tuple(int(number) for number in match[2].split(".")), bool(match[3])))
        return cls(text, tuple(clauses))

    def allows(self, release: Release) -> bool:
        """Whether the Python `release` (`(3, 11, 4)`) fits all clauses."""
        return all(_holds(release, *clause) for clause in self.clauses)


def _holds(release: Release, operator: str, wanted: Release, is_prefix: bool) -> bool:
    if is_prefix:
        return (release[: len(wanted)] == wanted) == (operator == "==")
    width = max(len(release), len(wanted))
    have, want = (version + (0,) * (width - len(version)) for version in (release, wanted))
    match operator:
        case ">=":
            return have >= want
        case "<=":
            return have <= want
        case ">":
            return have > want
        case "<":
            return have < want
        case "==":
            return have == want
        case "!=":
            return have != want
        case _:  # ~=: at least this, and the same up to the last number but one
            return have >= want and have[: len(wanted) - 1] == wanted[:-1]
