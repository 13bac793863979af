"""Report: what a check found, step by step, and where reports are kept: one JSON file per package digest.

A package that changed in any file has another digest and so no report. Nothing here decides what a step means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from check.development import development_python
from check.digest import package_digest

Status = Literal["ok", "failed", "skipped"]

_FOLDER: Final = "checks"


@dataclass(frozen=True, slots=True)
class Step:
    """How one step went. `message` is one line; `detail` holds further lines, a traceback for instance."""

    name: str
    status: Status
    seconds: float
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check. `package` is the folder as it was named, `made_at` an ISO 8601 time in UTC."""

    package: str
    name: str
    version: str
    digest: str
    crema_version: str
    passed: bool
    steps: tuple[Step, ...]
    made_at: str

    @property
    def first_failed(self) -> Step | None:
        """The first step that failed: the reason of a refusal."""
        return next((step for step in self.steps if step.status == "failed"), None)

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values; a step without detail has no such key."""
        shown = asdict(self)
        shown["steps"] = [
            {key: value for key, value in asdict(step).items() if key != "detail" or value}
            for step in self.steps
        ]
        return shown

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Report:
        """The report of a document. Raises KeyError, TypeError or ValueError when it is none."""
        values = dict(document)
        values["steps"] = tuple(Step(**step) for step in values["steps"])
        return cls(**values)

    def store(self, state: Path | None = None) -> Path:
        """Writes it to the user's cache and, given a cluster's state folder, there too. Returns the last path.

        Each file is whole or not there. Raises OSError.
        """
        path = _write(self, reports_folder(None))
        return path if state is None else _write(self, reports_folder(state))


def reports_folder(state: Path | None) -> Path:
    """Where reports lie: in a cluster's state folder, else in the user's cache.

    Those made while CREMA_ENV_PYTHON stands in for the packages' environments lie apart, and are found only then.
    """
    name = _FOLDER + ("-development" if development_python() else "")
    if state is not None:
        return state / name
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/", ".cache")
    return Path(cache, "crema", name)


def find_report(folder: Path, *, state: Path | None = None) -> Report | None:
    """The report of exactly the files that are in the package's folder now; None when they were not checked.

    Looks in the cluster's state folder, when one is given, and then in the user's cache.
    """
    name = f"{package_digest(folder)}.json"
    places = [reports_folder(None)] if state is None else [reports_folder(state), reports_folder(None)]
    for place in places:
        try:
            report = Report.of(json.loads((place / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            continue  # an older crema wrote it in another form, or nobody did: check again
        if report.digest == name.removesuffix(".json"):
            return report
    return None


def _write(report: Report, folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{report.digest}.json"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(report.document(), ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
