"""The light ring's folder: what a model's virtualenv may see of crema, as links, and nothing else.

A worker gets this folder as PYTHONPATH: `crema/*.py` of the top level, never `crema.host`, `crema.cli` or a tier; and of
these what is compiled, which the Python that it was compiled for takes first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import crema
from crema.compiled import light_home


def make_light_ring(folder: Path) -> Path:
    """Fill `folder` with `crema/` and links to its top-level modules; safe to repeat, also by several at once.

    Returns `folder`. The bytecode that the workers compile is kept there too.
    """
    compiled = light_home()
    _link(folder, [] if compiled is None else compiled.glob("*.so"))
    modules = [*Path(crema.__file__).resolve().parent.glob("*.py")]
    if compiled is not None:
        modules += (compiled / "crema").glob("*.so")
    _link(folder / "crema", modules)
    return folder


def _link(folder: Path, targets: Iterable[Path]) -> None:
    """Have `folder` hold links to these files, and to no other modules."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in targets}
    for name, path in wanted.items():
        link = folder / name
        if link.is_symlink() and link.readlink() == path:
            continue
        # made aside and renamed into place: a worker that starts now sees the old link or the new one
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(path)
        fresh.replace(link)
    for link in folder.iterdir():
        if link.suffix in (".py", ".so") and link.name not in wanted and not link.name.startswith("."):
            link.unlink(missing_ok=True)
