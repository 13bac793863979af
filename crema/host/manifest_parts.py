"""The parts of a `model.yaml`, one class per key: what may stand there, its default and its range.

These classes say what a manifest means; `manifest` reads the file. A `Reading` travels with a validation and tells
the validators which folder the manifest describes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import Strict as StrictMode

from crema import wire
from crema.host.mistakes import REFUSED, TAG, Strict, did_you_mean, refuse
from crema.host.package_paths import PathRefused, inside, package_files
from crema.names import CHANNELS, Colour, Filter, Fit

_PARAM_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_WEIGHT_SUFFIXES: Final = (".safetensors", ".onnx", ".onnx.data", ".onnx_data")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

AsTuple = StrictMode(False)  # YAML has lists only


@dataclass(slots=True)
class Reading:
    """What validators know besides the value: the package's folder, and what the keys before theirs said."""

    package_dir: Path
    input_kind: str | None = None
    output_type: str | None = None


def _close_file(package_dir: Path, written: str) -> str:
    """The `try:` line for a path that leads nowhere: the package's file that looks most like it."""
    known = [path.relative_to(package_dir).as_posix() for path in package_files(package_dir)]
    close = did_you_mean(written, known)
    return close[0] if close else "put the file into the package's folder, or correct the path"


def package_file(suffixes: tuple[str, ...], what: str) -> Callable[[str, ValidationInfo], str]:
    """A validator: the text names a file in the package that ends in one of `suffixes`; `what` says it in words."""

    def check(written: str, info: ValidationInfo) -> str:
        if suffixes and not written.lower().endswith(suffixes):
            raise refuse(what)
        if isinstance(info.context, Reading):
            try:
                inside(info.context.package_dir, written)
            except PathRefused as error:
                raise refuse(str(error), hint=_close_file(info.context.package_dir, written)) from None
        return written

    return check


def by(key: str, tags: dict[str, str], what: str) -> Discriminator:
    """Chooses a union's member by the value of `key`: `tags` maps values to tags; any other value is refused with `what`."""

    def tag_of(value: Any) -> str | None:
        if isinstance(value, Strict):
            return TAG + tags[getattr(value, key)]  # when it is written out again
        if not isinstance(value, dict):
            return TAG + next(iter(tags.values()))  # the member itself then says that it must be a map
        chosen = value.get(key)
        return TAG + tags[chosen] if isinstance(chosen, str) and chosen in tags else None

    context: dict[str, int | str | float] = {"what": what, "hint": "", "got": "", "at": key}
    return Discriminator(
        tag_of, custom_error_type=REFUSED, custom_error_message="{what}", custom_error_context=context
    )


class ImageInput(Strict):
    """One photo as uint8, [height, width, 3] (RGB) or [height, width, 1] (gray), decoded and resized by the preprocessor."""

    tag: ClassVar = "image"
    kind: Literal["image"]
    size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]], AsTuple
    ]
    """[width, height] in pixels."""
    fit: Fit = "cover"
    """cover: fills the size and crops what is over; contain: fits inside and pads; stretch: ignores the proportions."""
    filter: Filter = "bilinear"
    """The resize's filter: part of the model's contract, because answers change with it."""
    colour: Colour = "rgb"
    """rgb: three channels; gray: one, luma."""

    @property
    def spec(self) -> dict[str, Any]:
        """As a preprocessor is asked for it."""
        written = {"size": list(self.size), "fit": self.fit, "filter": self.filter}
        return written if self.colour == "rgb" else {**written, "colour": self.colour}

    @property
    def item_bytes(self) -> int:
        """Bytes of one item's pixels."""
        return self.size[0] * self.size[1] * CHANNELS[self.colour]


class TensorInput(Strict):
    """A tensor of a fixed shape that callers bring themselves."""

    tag: ClassVar = "tensor"
    kind: Literal["tensor"]
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AsTuple, Field(max_length=8)]
    dtype: Literal[
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
    ]  # fmt: skip

    @model_validator(mode="after")
    def _fits_a_frame(self) -> TensorInput:
        if self.item_bytes > wire.MAX_PAYLOAD_BYTES:
            raise refuse("must describe a tensor of at most 64 MiB", at="shape", got=str(list(self.shape)))
        return self

    @property
    def item_bytes(self) -> int:
        """Bytes of one item's tensor."""
        return wire.tensor_bytes(self.shape, self.dtype)


InputSpec = Annotated[
    Annotated[ImageInput, Tag(TAG + "image")] | Annotated[TensorInput, Tag(TAG + "tensor")],
    by("kind", {"image": "image", "tensor": "tensor"}, "must be image or tensor"),
]


class PlainOutput(Strict):
    """An output type whose shape the public API fixes."""

    tag: ClassVar = "plain"
    type: Literal["tags", "score", "caption", "embedding"]


class JsonOutput(Strict):
    """Whatever the package's own JSON Schema describes."""

    tag: ClassVar = "json"
    type: Literal["json"]
    json_schema: dict[str, Any] = Field(alias="schema")


OutputSpec = Annotated[
    Annotated[PlainOutput, Tag(TAG + "plain")] | Annotated[JsonOutput, Tag(TAG + "json")],
    by(
        "type",
        {"tags": "plain", "score": "plain", "caption": "plain", "embedding": "plain", "json": "json"},
        "must be tags, score, caption, embedding or json",
    ),
]


class _Number(Strict):
    @field_validator("maximum", check_fields=False)
    @classmethod
    def _range_is_not_empty(cls, maximum: float | None, info: ValidationInfo) -> float | None:
        minimum = info.data.get("minimum")
        if maximum is not None and minimum is not None and maximum < minimum:
            raise refuse(f"must be at least minimum, {minimum}")
        return maximum

    @field_validator("default", check_fields=False)
    @classmethod
    def _default_is_in_range(cls, default: float, info: ValidationInfo) -> float:
        minimum, maximum = info.data.get("minimum"), info.data.get("maximum")
        if minimum is not None and default < minimum:
            raise refuse(f"must be at least minimum, {minimum}", hint=f"default: {minimum}")
        if maximum is not None and default > maximum:
            raise refuse(f"must be at most maximum, {maximum}", hint=f"default: {maximum}")
        return default


class IntegerParam(_Number):
    """A whole number that callers may set."""

    tag: ClassVar = "integer"
    type: Literal["integer"]
    minimum: StrictInt | None = None
    maximum: StrictInt | None = None
    default: StrictInt


class NumberParam(_Number):
    """A finite number that callers may set."""

    tag: ClassVar = "number"
    type: Literal["number"]
    minimum: StrictFloat | None = None
    maximum: StrictFloat | None = None
    default: StrictFloat


class BooleanParam(Strict):
    """A switch that callers may set."""

    tag: ClassVar = "boolean"
    type: Literal["boolean"]
    default: StrictBool


class StringParam(Strict):
    """A text that callers may set; `enum` lists the allowed ones, `max_length` bounds it (characters)."""

    tag: ClassVar = "string"
    type: Literal["string"]
    enum: Annotated[tuple[StrictStr, ...], AsTuple, Field(min_length=1)] | None = None
    max_length: int = Field(default=256, ge=1, le=4096)
    default: StrictStr

    @field_validator("default")
    @classmethod
    def _default_is_allowed(cls, default: str, info: ValidationInfo) -> str:
        allowed = info.data.get("enum")
        if allowed is not None and default not in allowed:
            raise refuse(f"must be one of enum: {', '.join(allowed)}", hint=f"default: {allowed[0]}")
        if len(default) > info.data.get("max_length", 4096):
            raise refuse(f"must be at most max_length, {info.data['max_length']} characters")
        return default


Param = Annotated[
    Annotated[IntegerParam, Tag(TAG + "integer")]
    | Annotated[NumberParam, Tag(TAG + "number")]
    | Annotated[BooleanParam, Tag(TAG + "boolean")]
    | Annotated[StringParam, Tag(TAG + "string")],
    by(
        "type",
        {name: name for name in ("integer", "number", "boolean", "string")},
        "must be integer, number, boolean or string",
    ),
]


def param_name(name: str) -> str:
    """Validates a parameter's name."""
    if _PARAM_NAME.match(name) is None:
        raise refuse("a parameter's name is 1 to 64 of a-z, 0-9 and _, beginning with a letter", show=False)
    return name


ParamName = Annotated[str, AfterValidator(param_name)]


class Weights(Strict):
    """One file of weights and what it must hash to."""

    path: Annotated[
        str,
        AfterValidator(
            package_file(_WEIGHT_SUFFIXES, "must be safetensors or ONNX (.safetensors, .onnx, .onnx.data)")
        ),
    ]
    sha256: str

    @field_validator("sha256")
    @classmethod
    def _is_a_digest(cls, text: str) -> str:
        if _SHA256.match(text) is None:
            raise refuse(
                "must be 64 lower-case hexadecimal digits, in quotes",
                hint="the first word that `sha256sum FILE` prints",
            )
        return text


class Batching(Strict):
    """How the host forms batches."""

    max_size: int = Field(default=32, ge=1, le=1024)
    """Items in a batch, at most."""
    max_wait_ms: float = Field(default=0, ge=0, le=1000)
    """How long a batch that is not full may wait for more; 0: never, which is nearly always best."""
    in_flight: int = Field(default=1, ge=1, le=2)
    """Batches at the worker at once; 2 when the worker overlaps them on a GPU."""


class Gate(Strict):
    """Admission to the minion."""

    max_pending: int = Field(ge=1, le=100_000)
    """Places: items waiting or running, at most. Default 4 × batching.max_size."""


class Slo(Strict):
    """What the model promises."""

    p99_ms: float = Field(default=500, gt=0, le=60_000)
    """99 of 100 answers within this, measured at the minion."""


class Resources(Strict):
    """What the worker needs."""

    device: Literal["auto", "gpu", "cpu"] = "auto"
    gpu_memory_mb: int | None = Field(default=None, ge=1)
    memory_mb: int | None = Field(default=None, ge=1)
    """Bounds the worker's peak at max_size, when given."""


class Example(Strict):
    """A golden pair: an image (or, for a tensor model, a .npy file) and the output it must give."""

    image: Annotated[str, AfterValidator(package_file((), ""))] | None = None
    tensor: Annotated[str, AfterValidator(package_file((".npy",), "must be a .npy file"))] | None = None
    expect: Annotated[str, AfterValidator(package_file((".json",), "must be a .json file"))]
    tolerance: float = Field(default=0.01, ge=0)
    """How far a number of the answer may be from the expected one."""

    @field_validator("tolerance")
    @classmethod
    def _tolerance_means_something(cls, tolerance: float, info: ValidationInfo) -> float:
        output = info.context.output_type if isinstance(info.context, Reading) else None
        if output in ("tags", "score", "caption") and tolerance > 0.1:
            raise refuse(
                "must be at most 0.1: scores and confidences lie between 0 and 1", hint="tolerance: 0.01"
            )
        return tolerance

    @model_validator(mode="after")
    def _fits_the_input(self, info: ValidationInfo) -> Example:
        kind = info.context.input_kind if isinstance(info.context, Reading) else None
        wanted = kind or ("image" if self.tensor is None else "tensor")
        other = "tensor" if wanted == "image" else "image"
        if getattr(self, other) is not None:
            raise refuse(
                f"an example of {'a tensor' if wanted == 'tensor' else 'an image'} model has no {other}",
                at=other,
                hint=wanted,
            )
        if getattr(self, wanted) is None:
            raise refuse("is required", at=wanted, show=False)
        return self
