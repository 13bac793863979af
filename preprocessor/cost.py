"""What a decode is expected to take: learnt from every decode, told by an image's header. Pure, without a clock.

The work of an image is its pixels, weighted by how dear its format is beside a baseline JPEG that is scaled while it
is decoded; milliseconds per unit of work are learnt as they come.
"""

from __future__ import annotations

import math
from typing import Final

from preprocessor.header import Format, ImageHeader

# Baseline JPEG is 1. A JPEG in several passes is read as a whole first; the others cannot be scaled while decoded.
_DEARNESS: Final[dict[Format, float]] = {
    "jpeg": 1.0, "png": 8.0, "webp": 5.0, "gif": 4.0, "avif": 12.0, "heic": 12.0, "tiff": 8.0, "bmp": 2.0,
}  # fmt: skip
MANY_SCANS_DEARNESS: Final = 4.0
# What even the smallest image costs (resize, transport), in megapixels of baseline JPEG.
LEAST_WORK: Final = 0.25
# Until the first decode is seen: a slow core.
FIRST_MS_PER_UNIT: Final = 4.0
# About the last ten decodes decide what a unit takes, about the last thirty how far that scatters.
_WEIGHT: Final = 0.1
_SPREAD_WEIGHT: Final = 0.03
# An image is heavy that costs so many times what a typical one does, and at least so much.
HEAVY: Final = 8.0
HEAVY_MS: Final = 50.0
# The typical image is the median: each that comes moves it by so much. Half of them must be heavy before heavy is typical.
_MEDIAN_STEP: Final = 1.05


def work_of(header: ImageHeader) -> float:
    """Work of an image in megapixels of baseline JPEG, at least 0.25."""
    dearness = MANY_SCANS_DEARNESS if header.many_scans else _DEARNESS[header.format]
    return LEAST_WORK + header.width * header.height / 1e6 * dearness


class DecodeCost:
    """Milliseconds per unit of work, exponentially weighted."""

    def __init__(self) -> None:
        self.ms_per_unit = FIRST_MS_PER_UNIT
        self.overrun = 0.0
        """By how much of their prediction single decodes take longer: a standard deviation, from overruns only."""
        self._overrun_squared = 0.0
        self._typical_work = 0.0

    def observe(self, work: float, milliseconds: float) -> None:
        """Learn from a decode that ended."""
        # beyond twice as long it is another price, which is learned, and not a spread
        over = min(1.0, max(0.0, milliseconds / self.predict_ms(work) - 1))
        # of errors to both sides half were seen: twice their square is the variance
        self._overrun_squared += _SPREAD_WEIGHT * (2 * over * over - self._overrun_squared)
        self.overrun = math.sqrt(self._overrun_squared)
        self.ms_per_unit += _WEIGHT * (milliseconds / work - self.ms_per_unit)

    def came(self, work: float) -> None:
        """An image of so much work is to be decoded: learn what is typical."""
        if not self._typical_work:
            self._typical_work = work
        elif work > self._typical_work:
            self._typical_work *= _MEDIAN_STEP
        elif work < self._typical_work:
            self._typical_work /= _MEDIAN_STEP

    @property
    def light_work(self) -> float:
        """The most work of an image that is not heavy."""
        return max(HEAVY * self._typical_work, HEAVY_MS / self.ms_per_unit)

    def predict_ms(self, work: float) -> float:
        """What `work` will take on one decoder, in milliseconds."""
        return work * self.ms_per_unit
