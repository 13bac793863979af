"""Counted msgpack: a caller's body as Python values, but never more of them than a call needs.

A byte can be a value of sixty: 20 MiB of them would cost a gigabyte and seconds of the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack


class TooManyValues(ValueError):
    """The text says how many are taken."""


def unpack_counted(
    data: bytes | memoryview, most: int, make_map: Callable[[list[tuple[Any, Any]]], dict[str, Any]]
) -> Any:
    """The value of `data`, of at most `most` values in all, without extension types; `make_map` makes a map of its pairs.

    Raises TooManyValues, what `make_map` raises, and what msgpack does: ValueError, TypeError, OverflowError, RecursionError,
    UnpackException.
    """
    size, seen = len(data), 0

    def count(values: list[Any]) -> list[Any]:
        nonlocal seen
        seen += len(values)
        if seen > most:
            raise TooManyValues(f"more than {most} values")
        return values

    return msgpack.unpackb(
        data,
        object_pairs_hook=lambda pairs: make_map(count(pairs)),
        list_hook=count,
        strict_map_key=True,
        max_str_len=size,
        max_bin_len=size,
        max_array_len=most,
        max_map_len=most,
        max_ext_len=0,
    )
