"""Violations: everything that is wrong with one request, gathered and refused together as one `invalid_request`.

Places are RFC 6901 pointers into the JSON form of the request, wherever the value really came from.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any, Final

from crema.errors import CremaError

# A hostile body can hold a mistake per byte; nobody reads more than this many.
MAX_LISTED: Final = 100
# And a name of megabytes is not sent back.
MAX_STEP: Final = 100

Path = tuple[str | int, ...]


def pointer(path: Path) -> str:
    """`("models", 0, "as")` → `/models/0/as`; `~` and `/` inside a name are escaped. The whole request is ``""``.

    A name of more than 100 characters is cut, and ends in `…`.
    """
    return "".join("/" + _cut(str(step)).replace("~", "~0").replace("/", "~1") for step in path)


def _cut(name: str) -> str:
    return name if len(name) <= MAX_STEP else name[: MAX_STEP - 1] + "…"


def closest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that look like `word`, closest first."""
    words = list(known)
    by_lower = {each.lower(): each for each in words}
    found = difflib.get_close_matches(word.lower()[:200], list(by_lower), n=3, cutoff=0.5)
    return [by_lower[each] for each in found]


def shown(value: Any) -> str:
    """A caller's value, short enough for a message and free of control characters."""
    if isinstance(value, (dict, list, bytes)):
        return {dict: "a map", list: "a list"}.get(type(value), "bytes")
    text = repr(value[:80]) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


class Violations:
    """Collects what is wrong; `refuse()` raises it all at once."""

    __slots__ = ("_found", "_more")

    def __init__(self) -> None:
        self._found: list[dict[str, str]] = []
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, message: str) -> None:
        """Note one violation; the message says what to write instead."""
        if len(self._found) < MAX_LISTED:
            self._found.append({"pointer": pointer(path), "message": message})
        else:
            self._more += 1

    def include(self, other: Violations) -> None:
        """Note everything that `other` holds, after what is noted here."""
        self.note(other._found)
        self._more += other._more

    def note(self, errors: Iterable[dict[str, str]]) -> None:
        """Note what an error of `error()` lists."""
        for each in errors:
            if len(self._found) < MAX_LISTED:
                self._found.append(each)
            else:
                self._more += 1

    def unknown(self, path: Path, known: Iterable[str], what: str = "member") -> None:
        """Note a name that is not known here, with the one that may have been meant, or all of them."""
        if len(self._found) >= MAX_LISTED:
            # looking for what was meant is the dear part: not for a body full of mistakes
            self._more += 1
            return
        names = list(known)
        name = str(path[-1])
        near = closest(name, names)
        if near:
            advice = f"did you mean {near[0]}?"
        elif names:
            advice = f"known here: {', '.join(names)}"
        else:
            advice = "there are none here"
        self.add(path, f"unknown {what} {shown(name)}; {advice}")

    def error(self) -> CremaError:
        """All of it as one error."""
        first = self._found[0]
        place = first["pointer"] or "the request"
        if not place.isprintable():
            place = ascii(place)[1:-1]
        count = len(self._found) + self._more
        if count == 1:
            text = f"{place}: {first['message']}"
        else:
            text = f"{count} mistakes, listed in `errors`; the first: {place}: {first['message']}"
        return CremaError("invalid_request", text, errors=self._found)

    def refuse(self) -> None:
        """Raises CremaError `invalid_request` if anything was noted."""
        if self._found:
            raise self.error()


def invalid(path: Path, message: str) -> CremaError:
    """One violation as an error."""
    violations = Violations()
    violations.add(path, message)
    return violations.error()
