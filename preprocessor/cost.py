"""What a decode is expected to take: learnt from every decode, told by an image's header. Pure, without a clock.

The work of an image is its pixels, weighted by how dear its format is beside a baseline JPEG that is scaled while it
is decoded; milliseconds per unit of work are learnt as they come.
"""

from __future__ import annotations

from typing import Final

from preprocessor.header import ImageHeader

# Baseline JPEG is 1. A JPEG in several passes is read as a whole first; the others cannot be scaled while decoded.
_DEARNESS: Final = {"jpeg": 1.0, "png": 8.0, "webp": 5.0, "gif": 4.0}
MANY_SCANS_DEARNESS: Final = 4.0
# What even the smallest image costs (resize, transport), in megapixels of baseline JPEG.
LEAST_WORK: Final = 0.25
# Until the first decode is seen: a slow core.
FIRST_MS_PER_UNIT: Final = 4.0
_WEIGHT_OF_THE_LATEST: Final = 0.1


def work_of(header: ImageHeader) -> float:
    """Work of an image in megapixels of baseline JPEG, at least 0.25."""
    dearness = MANY_SCANS_DEARNESS if header.many_scans else _DEARNESS[header.format]
    return LEAST_WORK + header.width * header.height / 1e6 * dearness


class DecodeCost:
    """Milliseconds per unit of work, exponentially weighted."""

    def __init__(self) -> None:
        self.ms_per_unit = FIRST_MS_PER_UNIT

    def observe(self, work: float, milliseconds: float) -> None:
        """Learn from a decode that ended."""
        self.ms_per_unit += _WEIGHT_OF_THE_LATEST * (milliseconds / work - self.ms_per_unit)

    def predict_ms(self, work: float) -> float:
        """What `work` will take on one decoder, in milliseconds."""
        return work * self.ms_per_unit
