"""What must hold for any bytes whatever, as functions that raise when it does not. Needs no fuzzer."""

from __future__ import annotations

import warnings
from typing import Final

from coordinator.call import read_batch, read_call
from coordinator.media import HEAD_BYTES, way_in
from coordinator.violations import Violations
from crema import wire
from crema.errors import CremaError
from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.header import read_header
from preprocessor.spec import Spec

PROFILES: Final = Profiles()
SPECS: Final = (
    Spec(16, 16, "stretch", "box"),
    Spec(9, 12, "cover", "bicubic"),
    Spec(12, 9, "contain", "lanczos"),
)
# Time and memory are bounded by the process around the decoder; here they would only slow the search down.
MOST_PIXELS: Final = 1_000_000


def image(data: bytes) -> None:
    """The decode entry: whole tensors, or an error of the caller's kind that quotes nothing of the file."""
    try:
        header = read_header(data)
        if header.width * header.height > MOST_PIXELS:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded = decode(data, SPECS, PROFILES)
    except CremaError as error:
        _check(error)
        return
    assert decoded.image.format == header.format
    assert {decoded.image.width, decoded.image.height} == {
        header.width,
        header.height,
    } or header.format != "jpeg"
    for spec, tensor in zip(SPECS, decoded.tensors, strict=True):
        assert tensor.as_array().shape == spec.shape


def frame(data: bytes) -> None:
    """A frame between tiers: a checked header with checked tensors, or an error that ends the connection."""
    if len(data) < wire.PREFIX.size:
        return
    try:
        header_bytes, _ = wire.decode_prefix(data)
        header = wire.decode_header(data[wire.PREFIX.size : wire.PREFIX.size + header_bytes])
    except wire.WireError:
        return
    assert header["v"] == wire.WIRE_VERSION and type(header["kind"]) is str and header["id"] >= 0
    try:
        items = header.get("items", header.get("tensors"))
        if type(items) is list:
            assert wire.tensors_bytes(items) >= 0
    except wire.ShapeError:
        pass
    again = wire.encode_header(header)
    assert wire.decode_header(again[wire.PREFIX.size :]) == header or "nan" in repr(header)


def body(data: bytes) -> None:
    """A request's body: a call, with what is wrong with it, or an error of the caller's kind."""
    for read in (read_call, read_batch):
        violations = Violations()
        try:
            call = read(way_in(data[:HEAD_BYTES]), data, violations)
            for each in call.images:
                if isinstance(each, CremaError):
                    _check(each)
            violations.refuse()
        except CremaError as error:
            _check(error)


def _check(error: CremaError) -> None:
    assert 400 <= error.status < 500, f"{error.code}: {error.message}"
    assert error.message.isprintable(), ascii(error.message)


TARGETS: Final = {"image": image, "frame": frame, "body": body}
