"""Records: the JSONL file of `crema analyze -o`. One line per photo; a run that was interrupted goes on where it was.

A file holds answers of one set of models, so that "answered before" means: by the models that are asked now. It knows
lines, photos' names and the keys of results, not how a photo is answered.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from crema.cli.api import Reply

Models = tuple[str, ...]
"""The keys of an answer's `results`: the models as they were asked for."""

_START: Final = b'{"photo":'


class InUse(Exception):
    """Another run writes this file."""


class NotRecords(Exception):
    """The file holds something else, which writing would destroy."""


class OtherModels(Exception):
    """The file holds answers of other models than those of this run."""


def record_of(photo: str, reply: Reply) -> dict[str, Any]:
    """`{photo, status, answer|problem}`; status is ok, partial or failed."""
    return {"photo": photo, "status": reply.status, "answer" if reply.code == 200 else "problem": reply.body}


class Records:
    """The file at `path`, opened for one run: `with` it.

    Opening keeps the lines of photos that are answered (`answered`), and drops what is to be done again: photos that
    failed or were answered in part, and a last line that was not finished. They go with the first `add`, or at the end;
    a run that is refused before changes nothing. Raises InUse and NotRecords.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answered: set[str] = set()
        self.models: list[Models] = []
        """The sets of models that the answers in the file are of: one, or several in a file that was put together."""
        self._file: BinaryIO | None = None
        self._is_clean = True

    def __enter__(self) -> Records:
        file = self.path.open("a+b")
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotRecords(f"{self.path} is not a plain file")
            self._take(file)
            self._read(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        assert self._file is not None
        try:
            if kind is None:
                self._clean()
        finally:
            self._file.close()

    def check(self, models: Iterable[str]) -> None:
        """Raises OtherModels when an answer in the file is of other models than `models`, in whatever order."""
        asked = tuple(models)
        if any(set(held) != set(asked) for held in self.models):
            raise OtherModels(
                f"{self.path} holds answers of {' and of '.join(map(_named, self.models))}; this run asks {_named(asked)}"
            )

    def add(self, photo: str, reply: Reply) -> None:
        """Append the line of a photo; it is in the file when this returns. Raises OtherModels, and appends nothing."""
        assert self._file is not None
        if reply.code == 200:
            models = tuple(reply.body.get("results") or ())
            self.check(models)
            self.models = self.models or [models]
        self._clean()
        line = json.dumps(record_of(photo, reply), ensure_ascii=False, separators=(",", ":"))
        self._file.write(line.encode("utf-8", "surrogatepass") + b"\n")
        self._file.flush()

    def _take(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(f"another run writes {self.path}; wait for it, or choose another file") from None
        if os.fstat(file.fileno()).st_ino != self.path.stat().st_ino:
            raise InUse(f"another run has just replaced {self.path}; start again")

    def _read(self, file: BinaryIO) -> None:
        """Fill `answered` and `models`, and see whether there are lines that must go."""
        file.seek(0)
        start = file.read(len(_START))
        is_ours = _START.startswith(start)
        known: set[frozenset[str]] = set()
        file.seek(0)
        for raw in file:
            line = _read_line(raw)
            if line is not None:
                is_ours = True
                if line.models is not None and frozenset(line.models) not in known:
                    known.add(frozenset(line.models))
                    self.models.append(line.models)
            if line is None or not line.is_answered or line.photo in self.answered:
                self._is_clean = False
            else:
                self.answered.add(line.photo)
        if not is_ours:
            raise NotRecords(f"{self.path} is not a file of answers")

    def _clean(self) -> None:
        """Let the lines go that must."""
        assert self._file is not None
        if not self._is_clean:
            self._file = self._rewritten(self._file)
            self._is_clean = True

    def _rewritten(self, file: BinaryIO) -> BinaryIO:
        """The file with only the lines that stay, put in place whole: an interruption here loses nothing."""
        new_path = self.path.with_name(self.path.name + ".new")
        new = new_path.open("w+b")
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
            kept: set[str] = set()
            file.seek(0)
            for raw in file:
                line = _read_line(raw)
                if line is not None and line.is_answered and line.photo not in kept:
                    kept.add(line.photo)
                    new.write(raw)
            new.flush()
            os.fsync(new.fileno())
            new_path.replace(self.path)
        except BaseException:
            new.close()
            new_path.unlink(missing_ok=True)
            raise
        file.close()
        return new


class _Line(NamedTuple):
    photo: str
    is_answered: bool
    """By every model."""
    models: Models | None
    """None where there is no answer."""


def _read_line(raw: bytes) -> _Line | None:
    """None for what is not a whole line of ours."""
    if not raw.endswith(b"\n"):
        return None
    try:
        record = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("photo"), str) or "status" not in record:
        return None
    answer = record.get("answer")
    models = tuple(answer.get("results") or ()) if isinstance(answer, dict) else None
    return _Line(record["photo"], record["status"] == "ok" and models is not None, models)


def _named(models: Models) -> str:
    return ",".join(models) or "no model"
