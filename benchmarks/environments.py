"""Environments: time and disk of 1, 2 and 5 virtualenvs, built from a cold and from a warm cache, and of verifying one.

    .venv/bin/python -m benchmarks.environments

The locks are the reference packages' own (`tags`: torch and numpy 2; `aesthetics`: ONNX Runtime and numpy 1.26) and three
that lack one package of the former each. Root and cache are new, on one file system; a file that several share counts once.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import machine, verdict
from envs.builder import build_environment, choose_profile
from envs.record import check_records
from envs.store import default_root

ROOT = Path(__file__).resolve().parent.parent
# Leaves of the lock: nothing that is imported needs them.
LEFT_OUT = ("sympy", "networkx", "jinja2")
MB = 1e6


def locks(folder: Path) -> list[Path]:
    """The five locks, the reference packages' first."""
    tags, aesthetics = (
        choose_profile(ROOT / "model_packages" / package).lock.path
        for package in ("tags/3.1", "aesthetics/2.0")
    )
    return [tags, aesthetics, *(_without(tags, name, folder) for name in LEFT_OUT)]


def _without(lock: Path, name: str, folder: Path) -> Path:
    """A lock without the entry of one package."""
    kept, is_left_out = [], False
    for line in lock.read_text().splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            is_left_out = line.startswith(f"{name}==")
        if not is_left_out:
            kept.append(line)
    path = folder / f"without-{name}" / lock.name
    path.parent.mkdir()
    path.write_text("\n".join(kept) + "\n")
    return path


def disk_mb(*folders: Path) -> float:
    """What the files in all of them take on the disk; one that is linked several times counts once."""
    blocks = {
        (found.st_dev, found.st_ino): found.st_blocks
        for path in _files(folders)
        if (found := path.lstat()).st_blocks
    }
    return sum(blocks.values()) * 512 / MB


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@contextmanager
def cache_at(folder: Path) -> Iterator[None]:
    """uv's cache is there and nowhere else."""
    before = os.environ.get("UV_CACHE_DIR")
    os.environ["UV_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["UV_CACHE_DIR"]
        else:
            os.environ["UV_CACHE_DIR"] = before


def built(lock: Path, root: Path) -> tuple[float, Path]:
    """Build an environment → (seconds, its folder)."""
    began = time.perf_counter()
    environment = build_environment(lock, root=root)
    return time.perf_counter() - began, environment.python.parents[1]


def main() -> bool:
    """Print times and disk, goal and verdict."""
    print(machine())
    # hard links do not reach across file systems
    beside = default_root().resolve()
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=beside) as made, cache_at(Path(made, "cache")):
        folder = Path(made)
        root = folder / "built"
        wanted = locks(folder)
        seconds: list[float] = []
        disk: dict[int, float] = {}
        for count, lock in enumerate(wanted, 1):
            took_s, path = built(lock, root)
            seconds.append(took_s)
            disk[count] = disk_mb(folder / "cache", root)
            if count in (1, 2, 5):
                print(
                    f"  {count} built: {sum(seconds):.1f} s in all, the last {took_s:.2f} s; {disk[count]:.0f} MB with the cache"
                )
        print(f"  one of them by itself: {disk_mb(path):.0f} MB")
        began = time.perf_counter()
        check = check_records(path)
        print(f"  verified against RECORD: {check.files} files in {time.perf_counter() - began:.2f} s")
        shutil.rmtree(root)
        warm_s, _ = built(wanted[0], root)
        there_s, _ = built(wanted[0], root)
        print(
            f"  the first again, from the warm cache: {warm_s:.2f} s; asked for when it is there: {there_s:.3f} s"
        )
        return all(
            [
                verdict("a further environment with torch", 5.0, max(seconds[2:]), " s"),
                verdict("disk of five over that of the two that differ", 1.1, disk[5] / disk[2]),
                verdict("changed files", 0, len(check.problems)),
            ]
        )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
