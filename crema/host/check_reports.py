"""Check reports: where `crema check` leaves what it found, and whether it says that a package passed.

One JSON file per package digest: a package that changed in any file has another digest and so no report. What the steps
mean is the check's business.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from crema.host.development import development_python


def reports_folder(state: Path | None) -> Path:
    """Where reports lie: in a cluster's state folder, else in the user's cache.

    Those made while CREMA_ENV_PYTHON stands in for the packages' environments lie apart, and are found only then.
    """
    name = "checks" if development_python() is None else "checks-development"
    if state is not None:
        return state / name
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/", ".cache")
    return Path(cache, "crema", name)


def has_passed(digest: str, state: Path | None = None) -> bool:
    """Whether a stored report says that the package with this digest passed: in the cluster's state folder, where one is
    given, or in the user's cache."""
    for folder in {reports_folder(state), reports_folder(None)}:
        try:
            report = json.loads((folder / f"{digest}.json").read_bytes())
            if report["digest"] == digest and report["passed"] is True:
                return True
        except (OSError, ValueError, TypeError, KeyError):
            continue  # another crema wrote it in another form, or nobody did: it is checked again
    return False
