"""PackageWatch: sees version folders that appear while the cluster runs, once nothing in them changes any more.

What lies there at the start is not new. A folder that changed after it was refused is new again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from watchfiles import awatch

from crema.host.package_paths import package_files
from crema.host.packages import PackageFolder, find_packages

# A copy that pauses for longer than this is checked while it is half there, refused, and checked again when it goes on.
SETTLE_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.5
# Folders on file systems that tell nothing are seen by looking.
LOOK_ANYWAY_S: Final = 5.0

Signature = tuple[tuple[str, int, int], ...]

log = structlog.get_logger(__name__)


class PackageWatch:
    """Follows the packages folder `root`. `on_new(folder)`, `on_gone(label)` and `on_odd`, with all folders that cannot be
    served for their names and why, when these change, are called on the loop and must not block."""

    def __init__(
        self,
        root: Path,
        on_new: Callable[[PackageFolder], None],
        on_gone: Callable[[str], None],
        on_odd: Callable[[Mapping[Path, str]], None] = lambda odd: None,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._root = root
        self._on_new = on_new
        self._on_gone = on_gone
        self._on_odd = on_odd
        self._odd: Mapping[Path, str] = {}
        self._odd_there: Mapping[Path, str] = {}
        self._settle_s = settle_s
        self._known = {label: signature for label, (_, signature) in self._look().items()}
        self._changing: dict[str, tuple[Signature, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        # what came while the watch was being set up is seen at the first wake
        looked = monotonic() - LOOK_ANYWAY_S
        async for has_changed in self._wakes():
            now = monotonic()
            if has_changed or self._changing or now - looked >= LOOK_ANYWAY_S:
                looked = now
                self.step(await asyncio.to_thread(self._look), now)

    def look(self, now: float) -> None:
        """Look once. For tests, and for who has no loop."""
        self.step(self._look(), now)

    def step(self, found: dict[str, tuple[PackageFolder, Signature]], now: float) -> None:
        """Hold what was found against what is known, at the time `now`."""
        if self._odd != self._odd_there:
            self._odd = self._odd_there
            self._on_odd(self._odd)
        for label, (folder, signature) in found.items():
            if self._known.get(label) == signature:
                self._changing.pop(label, None)
                continue
            before = self._changing.get(label)
            if before is None or before[0] != signature:
                self._changing[label] = signature, now
            elif now - before[1] >= self._settle_s:
                del self._changing[label]
                self._known[label] = signature
                self._on_new(folder)
        for label in self._changing.keys() - found.keys():
            del self._changing[label]
        for label in self._known.keys() - found.keys():
            del self._known[label]
            self._on_gone(label)

    async def _wakes(self) -> AsyncIterator[bool]:
        """True after something changed under the root, False a while after nothing did."""
        try:
            async for changes in awatch(
                self._root, rust_timeout=int(LOOK_AGAIN_S * 1000), yield_on_timeout=True, recursive=True
            ):
                yield bool(changes)
        except (OSError, RuntimeError) as error:  # no more watches to be had, or no such folder for a while
            log.warning("packages_not_watched", error=str(error), instead="looked at regularly")
        while True:
            await asyncio.sleep(LOOK_ANYWAY_S)
            yield True

    def _look(self) -> dict[str, tuple[PackageFolder, Signature]]:
        try:
            packages = find_packages(self._root)
        except OSError:
            return {}
        self._odd_there = dict(packages.odd)
        return {folder.label: (folder, _signature(package_files(folder.path))) for folder in packages.all}


def _signature(files: Iterable[Path]) -> Signature:
    """Changes with every file that is added, removed or written."""
    found = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue  # it is being moved: the next look sees it
        found.append((os.fspath(path), status.st_size, status.st_mtime_ns))
    return tuple(found)
