"""What a model wants an image to look like. Plain data, without Pillow: the host checks specs, the decoders follow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from crema.names import CHANNELS, Colour, Filter, Fit

FITS: Final[tuple[Fit, ...]] = get_args(Fit)
FILTERS: Final[tuple[Filter, ...]] = get_args(Filter)
COLOURS: Final[tuple[Colour, ...]] = get_args(Colour)

MAX_SIDE: Final = 4096
MAX_SPECS: Final = 64
MEMBERS: Final = frozenset({"kind", "size", "fit", "filter", "colour"})


@dataclass(frozen=True, slots=True)
class Spec:
    """One input spec: uint8, [height, width, 3] (RGB) or [height, width, 1] (gray), made with one antialiased resize.

    cover: fills the size and crops what is over, centred. contain: fits inside and pads with white, centred.
    stretch: ignores the proportions. gray: luma as JPEG has it (ITU-R 601), of the picture in sRGB.
    """

    width: int
    height: int
    fit: Fit = "cover"
    filter: Filter = "bilinear"
    colour: Colour = "rgb"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, channels."""
        return self.height, self.width, CHANNELS[self.colour]

    @property
    def nbytes(self) -> int:
        """Bytes of one tensor of this spec."""
        return self.width * self.height * CHANNELS[self.colour]

    def as_wire(self) -> dict[str, Any]:
        """The spec as it travels: `{size: [width, height], fit, filter}`, and `colour` where it is not rgb."""
        written = {"size": [self.width, self.height], "fit": self.fit, "filter": self.filter}
        return written if self.colour == "rgb" else {**written, "colour": self.colour}


def parse_specs(value: Any, max_bytes: int) -> tuple[Spec, ...]:
    """A list of `{size: [width, height], fit, filter, colour}` maps, at least one, whose tensors fit in `max_bytes` together.

    Raises ValueError, saying which spec is wrong and what is allowed.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SPECS:
        raise ValueError(f"specs must be a list of 1 to {MAX_SPECS} input specs")
    specs = tuple(_parse_spec(one, index) for index, one in enumerate(value))
    total = total_bytes(specs)
    if total > max_bytes:
        raise ValueError(f"the specs ask for {total} bytes of pixels; the limit of one answer is {max_bytes}")
    return specs


def total_bytes(specs: Sequence[Spec]) -> int:
    """Bytes of the tensors of all `specs`, back to back."""
    return sum(spec.nbytes for spec in specs)


def _parse_spec(value: Any, index: int) -> Spec:
    if not isinstance(value, dict):
        raise ValueError(f"specs[{index}] must be a map with a `size`")
    # a member that is not understood would change the pixels silently, so it is refused and not ignored
    unknown = sorted(str(key)[:40] for key in value.keys() - MEMBERS)
    if unknown:
        raise ValueError(
            f"specs[{index}] has unknown members {', '.join(unknown)}; known are {', '.join(sorted(MEMBERS))}"
        )
    if value.get("kind", "image") != "image":
        raise ValueError(f"specs[{index}].kind must be image")
    size = value.get("size")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(n) is int and 1 <= n <= MAX_SIDE for n in size)
    ):
        raise ValueError(f"specs[{index}].size must be [width, height], each from 1 to {MAX_SIDE}")
    fit = value.get("fit", "cover")
    if fit not in FITS:
        raise ValueError(f"specs[{index}].fit must be one of {', '.join(FITS)}")
    resample = value.get("filter", "bilinear")
    if resample not in FILTERS:
        raise ValueError(f"specs[{index}].filter must be one of {', '.join(FILTERS)}")
    colour = value.get("colour", "rgb")
    if colour not in COLOURS:
        raise ValueError(f"specs[{index}].colour must be one of {', '.join(COLOURS)}")
    return Spec(size[0], size[1], fit, resample, colour)
