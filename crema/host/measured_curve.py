"""MeasuredCurve: what batches of a package were measured to take on a device, in the file that `crema bench` stores and
minions start from.

A file is named by the package's digest and the kind of device: a package that changed, or another kind of device,
starts without one. It holds measurements only; what follows from them is the cost curve's.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path


class CurveFileInvalid(Exception):
    """A file that is not a measured curve; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """`points` are (n, seconds of a batch of n), n rising; `model` (`tags@3.1`) and `device` are for people."""

    model: str
    device: str
    points: tuple[tuple[int, float], ...]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; its folder is made. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        body = {"model": self.model, "device": self.device, "curve": [list(point) for point in self.points]}
        try:
            new.write_text(json.dumps(body) + "\n")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> MeasuredCurve:
        """The curve in a file. Raises CurveFileInvalid, also when it cannot be read."""
        try:
            body = json.loads(path.read_text())
            points = tuple((n, float(seconds)) for n, seconds in body["curve"])
            curve = cls(str(body["model"]), str(body["device"]), points)
        except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise CurveFileInvalid(
                f"{path} is no curve of `crema bench` ({error}); measure again or remove the file"
            ) from None
        sizes = [n for n, _ in points]
        if (
            not points
            or any(type(n) is not int or n < 1 for n in sizes)
            or sizes != sorted(set(sizes))
            or any(not math.isfinite(seconds) or seconds < 0 for _, seconds in points)
        ):
            raise CurveFileInvalid(
                f"{path} holds sizes or seconds that cannot be; measure again or remove the file"
            )
        return curve


def curve_path(folder: Path, digest: str, device: str) -> Path:
    """Where the curve of a package (its digest) on a device (`cpu`, `cuda:N`) lies in a folder of curves."""
    return folder / f"{digest}.{device.partition(':')[0]}.json"
