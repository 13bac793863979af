"""The light ring's folder: what a model's virtualenv may see of crema, as links, and nothing else.

A worker gets this folder as PYTHONPATH: `crema/*.py` of the top level, never `crema.host`, `crema.cli` or a tier.
"""

from __future__ import annotations

import os
from pathlib import Path

import crema


def make_light_ring(folder: Path) -> Path:
    """Fill `folder` with `crema/` and links to its top-level modules; safe to repeat, also by several at once.

    Returns `folder`. The bytecode that the workers compile is kept there too.
    """
    source = Path(crema.__file__).resolve().parent
    ring = folder / "crema"
    ring.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in source.glob("*.py")}
    for name, path in wanted.items():
        link = ring / name
        if link.is_symlink() and link.readlink() == path:
            continue
        # made aside and renamed into place: a worker that starts now sees the old link or the new one
        fresh = ring / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(path)
        fresh.replace(link)
    for link in ring.glob("*.py"):
        if link.name not in wanted:
            link.unlink(missing_ok=True)
    return folder
