"""Make `.venv` with uv in it, from a bare Python: standard library only, nothing installed outside the folder.

Tries, in this order: a `uv` on the PATH; the standard `venv` with its pip; a system `pip` that can put uv into a
folder of ours (Debian's Python has no ensurepip). Says what to install when none of them is there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UV = "uv>=0.8"


def run(*command: str) -> None:
    subprocess.run(
        command,
        check=True,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PIP_ROOT_USER_ACTION": "ignore"},
    )


def main(folder: str) -> int:
    if sys.version_info < (3, 11):
        print(
            f"crema needs Python 3.11 or newer; this is {sys.version.split()[0]}. Say which to use: make PYTHON=python3.11",
            file=sys.stderr,
        )
        return 1
    venv = Path(folder)
    python = str(venv / "bin" / "python")
    on_path = shutil.which("uv")
    if on_path:
        run(on_path, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv))
        run(on_path, "pip", "install", "--quiet", "--python", python, UV)
    elif importlib.util.find_spec("ensurepip") is not None:
        run(sys.executable, "-m", "venv", "--clear", str(venv))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV)
    elif importlib.util.find_spec("pip") is not None:
        with tempfile.TemporaryDirectory(prefix="crema-uv-") as aside:
            run(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--target",
                aside,
                UV,
            )
            uv = str(Path(aside) / "bin" / "uv")
            run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv))
            run(uv, "pip", "install", "--quiet", "--python", python, UV)
    else:
        print(
            "this Python has neither ensurepip nor pip, and there is no uv on the PATH.\n"
            "  try: install one of them (Debian, Ubuntu: apt install python3-venv), then run make again",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        print(
            f"failed: {' '.join(map(str, error.cmd))}\n  try: run it by hand; its own message stands above",
            file=sys.stderr,
        )
        sys.exit(1)
