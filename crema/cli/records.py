"""Records: the JSONL file of `crema analyze -o`. One line per photo; a run that was interrupted goes on where it was.

It knows lines and photos' names, not how a photo is answered.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from crema.cli.api import Reply


class InUse(Exception):
    """Another run writes this file."""


def record_of(photo: str, reply: Reply) -> dict[str, Any]:
    """`{photo, status, answer|problem}`; status is ok, partial or failed."""
    return {"photo": photo, "status": reply.status, "answer" if reply.code == 200 else "problem": reply.body}


class Records:
    """The file at `path`, opened for one run: `with` it.

    Opening keeps the lines of photos that are answered (`answered`), and drops what is to be done again: photos that
    failed or were answered in part, and a last line that was not finished. Raises InUse.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answered: set[str] = set()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Records:
        file = self.path.open("a+b")
        try:
            self._take(file)
            is_clean = self._read(file)
            self._file = file if is_clean else self._rewritten(file)
        except BaseException:
            file.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, photo: str, reply: Reply) -> None:
        """Append the line of a photo; it is in the file when this returns."""
        assert self._file is not None
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

    def _read(self, file: BinaryIO) -> bool:
        """Fill `answered`. False when there are lines that must go."""
        is_clean = True
        file.seek(0)
        for line in file:
            photo = _answered_photo(line)
            if photo is None or photo in self.answered:
                is_clean = False
            else:
                self.answered.add(photo)
        return is_clean

    def _rewritten(self, file: BinaryIO) -> BinaryIO:
        """The file with only the lines that stay, put in place whole: an interruption here loses nothing."""
        new_path = self.path.with_name(self.path.name + ".new")
        new = new_path.open("w+b")
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
            kept: set[str] = set()
            file.seek(0)
            for line in file:
                photo = _answered_photo(line)
                if photo is not None and photo not in kept:
                    kept.add(photo)
                    new.write(line)
            new.flush()
            os.fsync(new.fileno())
            new_path.replace(self.path)
        except BaseException:
            new.close()
            new_path.unlink(missing_ok=True)
            raise
        file.close()
        return new


def _answered_photo(line: bytes) -> str | None:
    """The photo of a whole line that says it was answered by every model; else None."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if (
        not isinstance(record, dict)
        or record.get("status") != "ok"
        or not isinstance(record.get("photo"), str)
    ):
        return None
    photo: str = record["photo"]
    return photo
