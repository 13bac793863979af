"""Development: one Python for all packages, named by CREMA_ENV_PYTHON, as for `crema up`. No environment is built then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PYTHON_VARIABLE: Final = "CREMA_ENV_PYTHON"


def development_python() -> Path | None:
    """The interpreter that the variable names, if it names one."""
    named = os.environ.get(PYTHON_VARIABLE)
    # not resolved: a virtualenv's interpreter is a link, and is recognised by where the link is
    return Path(named).absolute() if named else None
