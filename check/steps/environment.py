"""Step `environment`: the package's virtualenv is built from its lock, and every file in it is what the lock's wheels hold."""

from __future__ import annotations

import os

from check.failure import StepFailed
from check.subject import Subject
from crema.host.development import PYTHON_VARIABLE, development_python
from crema.host.manifest import ManifestError
from envs.builder import BuildError, build_environment, choose_profile
from envs.interpreter import NoInterpreter
from envs.record import check_records

_SHOWN_PROBLEMS = 5


def check_environment(subject: Subject) -> str:
    """Built unless it is there, and verified against its RECORD files."""
    if (python := development_python()) is not None:
        if not os.access(python, os.X_OK):
            raise StepFailed(
                f"{PYTHON_VARIABLE} names {python}, which cannot be run", hint=f"unset {PYTHON_VARIABLE}"
            )
        subject.python = python
        return f"{python} ({PYTHON_VARIABLE}); the package's own was not built"
    try:
        choice = choose_profile(subject.folder)
        built = build_environment(choice.lock.path, python=choice.interpreter.path, progress=subject.progress)
    except (BuildError, ManifestError, NoInterpreter) as error:
        raise StepFailed(str(error)) from None
    subject.progress("checking every file of the environment against its hash")
    checked = check_records(built.python.parent.parent)
    if checked.problems:
        shown = "\n".join(checked.problems[1:_SHOWN_PROBLEMS])
        raise StepFailed(
            f"{len(checked.problems)} files of the environment are not what their packages promised: {checked.problems[0]}",
            detail=shown,
            hint="`uv cache clean`, remove the folder that `crema env list` names, and check again",
        )
    subject.python, subject.profile = built.python, built.profile
    passed_over = "".join(f"; passed over {reason.splitlines()[0]}" for reason in choice.passed_over)
    return f"{built.fingerprint[:8]}, profile {built.profile}, {checked.files} files verified{passed_over}"
