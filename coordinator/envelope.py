"""A JSON or msgpack body, decoded strictly into plain Python values: maps, lists, texts, numbers, bytes.

Refuses what decoders let pass: a member named twice, NaN, half of a surrogate pair, deep or endless nesting. What
the members mean is not known here.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgpack

from coordinator.violations import invalid
from crema.errors import CremaError
from crema.host.counted_msgpack import TooManyValues, unpack_counted

MAX_DEPTH: Final = 16
# Far more than any call needs. Without it 20 MiB of `[{},{},…` would cost a gigabyte and seconds of the event loop.
MAX_VALUES: Final = 20_000

_BOM: Final = b"\xef\xbb\xbf"
_BASE64: Final = re.compile(rb'"base64"[ \t\r\n]*:[ \t\r\n]*"')


class _Malformed(ValueError):
    """Not a body we take; the text says why."""


def decode_json(data: bytes | memoryview) -> dict[str, Any]:
    """A JSON object. Raises CremaError: `invalid_json` that says what is wrong and, where it is known, at which byte;
    `invalid_request` for JSON that is no object."""
    raw = bytes(data).removeprefix(_BOM)
    try:
        _check_count(raw)
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        _check(value, 1)
    except json.JSONDecodeError as error:
        raise CremaError(
            "invalid_json", f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except UnicodeDecodeError as error:
        raise CremaError(
            "invalid_json", f"not UTF-8 at byte {error.start}; encode the body as UTF-8"
        ) from None
    except _Malformed as error:
        raise CremaError("invalid_json", str(error)) from None
    except RecursionError:
        raise CremaError("invalid_json", f"nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise CremaError("invalid_json", "a number has too many digits") from None
    if type(value) is not dict:
        raise invalid((), "must be a JSON object; begin it with {")
    return value


def decode_msgpack(data: bytes | memoryview) -> dict[str, Any]:
    """A msgpack map. Raises CremaError `invalid_request` for anything else."""

    def one_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        for key, _ in pairs:
            if type(key) is not str:
                raise _Malformed("a map's key is not a text")
        return _unique(pairs)

    try:
        value = unpack_counted(data, MAX_VALUES, one_map)
        if type(value) is not dict:
            raise _Malformed("the body is not a map")
        _check(value, 1)
    except (_Malformed, TooManyValues) as error:
        raise invalid((), f"not a msgpack body that is taken here: {error}") from None
    except msgpack.ExtraData:
        raise invalid((), "bytes follow after the msgpack map; send the map alone") from None
    except UnicodeDecodeError:
        raise invalid((), "a msgpack text is not UTF-8; send bytes as bin") from None
    # msgpack's own errors are ValueErrors, save for a body that ends early (UnpackException) and odd keys (TypeError)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        raise invalid(
            (), "malformed msgpack: the body may be cut off, or it holds what no call needs"
        ) from None
    return value


def _check_count(raw: bytes) -> None:
    """Bounds the number of values before any is made. Texts may hold the bytes that are counted, too.

    What stands between the quotes of an image's base64 is passed over, which is nearly all of a large body. Wherever
    such a text seems to begin, there is the inside of some text, or the decoder stops before it.
    """
    if len(raw) <= MAX_VALUES:
        return
    count = begin = 0
    while begin >= 0:
        found = _BASE64.search(raw, begin)
        end = len(raw) if found is None else found.end()
        count += raw.count(b",", begin, end) + raw.count(b"[", begin, end) + raw.count(b"{", begin, end)
        count += found is not None
        if count > MAX_VALUES:
            raise _Malformed(f"more than {MAX_VALUES} values, or nested deeper than {MAX_DEPTH}")
        begin = -1 if found is None else raw.find(b'"', end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                raise _Malformed(f"the member {ascii(name)[:60]} stands twice in one object")
            names.add(name)
    return members


def _no_constant(name: str) -> NoReturn:
    raise _Malformed(f"{name} is not JSON")


def _check(value: Any, depth: int) -> None:
    """Raises _Malformed for half surrogates, extension types and nesting below `MAX_DEPTH`."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is dict:
        if depth > MAX_DEPTH:
            raise _Malformed(f"nested deeper than {MAX_DEPTH}")
        for key, member in value.items():
            if not key.isascii():
                _check_text(key)
            _check(member, depth + 1)
    elif kind is list:
        if depth > MAX_DEPTH:
            raise _Malformed(f"nested deeper than {MAX_DEPTH}")
        for member in value:
            _check(member, depth + 1)
    elif kind is msgpack.ExtType or kind is msgpack.Timestamp:
        raise _Malformed("extension types are not taken")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _Malformed("a text holds half of a surrogate pair") from None
