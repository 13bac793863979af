"""Compile the modules of `crema.compiled` with mypyc, into `.venv`. Without a C compiler crema runs without that.

    .venv/bin/python scripts/compile.py

Takes a minute or two; does nothing when it has been done for these sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from crema.compiled import LIGHT_MODULES, MODULES, home  # noqa: E402 - from the sources beside this file, installed or not

LOCK: Final = ROOT / "requirements.compile.lock"
# Runs in an environment of its own, where mypyc is: sources in, one folder of extension modules out. Each package is a
# library of its own, so that a compiler can work on each at once.
BUILD: Final = """
import os, sys
from itertools import groupby
from mypyc.build import mypycify
from setuptools import Distribution
python, made, scratch, *sources = sys.argv[1:]
groups = [(list(files), package) for package, files in groupby(sources, lambda file: file.partition("/")[0])]
modules = mypycify(
    ["--python-executable", python, "--cache-dir", scratch + "/cache", *sources],
    opt_level="2", debug_level="0", separate=groups, target_dir=scratch + "/c",
)
command = Distribution({"name": "crema-compiled", "ext_modules": modules}).get_command_obj("build_ext")
command.build_lib, command.build_temp, command.parallel = made, scratch + "/o", os.cpu_count()
command.ensure_finalized()
command.run()
"""


def missing() -> str:
    """What this machine lacks for it; empty when nothing."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"the C compiler {compiler}"
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    return "" if header.exists() else str(header)


def build(tools: Path, made: Path, scratch: Path) -> None:
    """Compile into `made`. Raises CalledProcessError, whose output says why."""
    uv = str(Path(sys.executable).parent / "uv")
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True)

    run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, tools)
    python = tools / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", LOCK)
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(
                run,
                python,
                "-c",
                BUILD,
                sys.executable,
                folder,
                scratch / folder.name,
                *map(_source, modules),
            )
            for folder, modules in ((made, MODULES), (made / "light", LIGHT_MODULES))
        ]:
            done.result()


def _source(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def main() -> int:
    folder = home()
    if folder.is_dir():
        return 0
    lacks = missing()
    if lacks:
        print(
            f"not compiling crema's own modules: {lacks} is not here. They run all the same, at more CPU per call.\n"
            "  to have them compiled (Debian, Ubuntu): apt install gcc python3-dev, then make compiled"
        )
        return 0
    print("compiling crema's own modules; once, a minute or two")
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        try:
            build(Path(scratch, "tools"), made, Path(scratch))
        except (OSError, subprocess.CalledProcessError) as error:
            output = (
                error.stdout + error.stderr
                if isinstance(error, subprocess.CalledProcessError)
                else str(error)
            )
            log = folder.parent / "failed.txt"
            log.write_text(output)
            print(
                f"crema's own modules could not be compiled ({log} says why). They run all the same, at more CPU per call."
            )
            return 0
        for old in folder.parent.iterdir():
            if old == Path(scratch):
                continue
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.unlink()
        made.rename(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
