"""The formats of weights, told by their bytes and never by loading them: safetensors, ONNX, and pickles, which are refused.

Every length is held against the file's before it is used; a strange file is a FormatRefused and never another error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from check.pickles import looks_like_a_pickle

_DTYPE_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_MAX_HEADER_BYTES: Final = 100 << 20
_MAX_ONNX_BYTES: Final = 2 << 30


class FormatRefused(Exception):
    """A file is not what its name says, or a pickle; the text says which and why."""


def is_safetensors(path: Path) -> bool:
    """Whether a file holds safetensors, whatever it is called."""
    try:
        _safetensors(path, path.name)
    except FormatRefused:
        return False
    return True


def check_format(path: Path, shown_as: str, declared: set[str]) -> str:
    """What a file of weights holds, in words. `declared` are all paths of weights in the manifest.

    Raises FormatRefused.
    """
    if looks_like_a_pickle(path):
        raise FormatRefused(f"{shown_as} is a pickle under another name; a pickle runs code when it is read")
    if shown_as.endswith(".safetensors"):
        return f"{_safetensors(path, shown_as)} tensors"
    if shown_as.endswith(".onnx"):
        return _onnx(path, shown_as, declared)
    return "external data"


def _safetensors(path: Path, shown_as: str) -> int:
    size = path.stat().st_size

    def refuse(why: str) -> FormatRefused:
        return FormatRefused(f"{shown_as} is no safetensors file: {why}")

    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            raise refuse("its header does not fit into the file")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise refuse("its header is not JSON") from None
    if not isinstance(header, dict):
        raise refuse("its header is no map")
    spans = [_span(name, tensor, refuse) for name, tensor in header.items() if name != "__metadata__"]
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise refuse("its tensors overlap or leave gaps")
        end = stop
    if end != size - 8 - length:
        raise refuse("its tensors end elsewhere than the file")
    return len(spans)


def _span(name: str, tensor: Any, refuse: Any) -> tuple[int, int]:
    try:
        begin, end = tensor["data_offsets"]
        bits = _DTYPE_BITS[tensor["dtype"]]
        for extent in tensor["shape"]:
            if type(extent) is not int or extent < 0:
                raise ValueError
            bits *= extent
        if type(begin) is not int or type(end) is not int or begin < 0 or (end - begin) * 8 != bits:
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise refuse(f"the entry of {name[:60]!r} is not a tensor") from None
    return begin, end


# Of a ModelProto: `ir_version` 1, `graph` 7. Of a GraphProto: `initializer` 5, `sparse_initializer` 15. Of a TensorProto:
# `external_data` 13, whose entries hold a key (1) and a value (2); the key `location` names another file.


def _onnx(path: Path, shown_as: str, declared: set[str]) -> str:
    if path.stat().st_size > _MAX_ONNX_BYTES:
        raise FormatRefused(f"{shown_as} is larger than 2 GiB, which no ONNX file can be")
    data = memoryview(path.read_bytes())
    try:
        fields = list(_fields(data))
        graphs = [value for number, value in fields if number == 7 and isinstance(value, memoryview)]
        if not graphs or not any(number == 1 and isinstance(value, int) for number, value in fields):
            raise ValueError
        tensors = [
            tensor for number, tensor in _fields(graphs[0]) if number == 5 and isinstance(tensor, memoryview)
        ]
        places = {place for tensor in tensors for place in _locations(tensor)}
    except (ValueError, IndexError, UnicodeDecodeError):
        raise FormatRefused(f"{shown_as} is no ONNX file") from None
    folder = PurePosixPath(shown_as).parent
    for place in sorted(places):
        pure = PurePosixPath(place)
        if pure.is_absolute() or ".." in pure.parts:
            raise FormatRefused(f"{shown_as} keeps tensors in {place}, outside the package's folder")
        if (folder / pure).as_posix() not in declared:
            raise FormatRefused(
                f"{shown_as} keeps tensors in {place}, which is not declared; every file of weights stands in the manifest"
            )
    return "graph"


def _locations(tensor: memoryview) -> Iterator[str]:
    for number, entry in _fields(tensor):
        if number == 13 and isinstance(entry, memoryview):
            pair = {key: value for key, value in _fields(entry) if isinstance(value, memoryview)}
            if bytes(pair.get(1, b"")) == b"location":
                yield bytes(pair.get(2, b"")).decode()


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: (number, value or bytes). Raises ValueError or IndexError for anything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError
        if size > len(data) - at:
            raise ValueError
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError
