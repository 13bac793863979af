"""Outcomes: what a model returned for one item, checked against its output type and packed. Light ring.

An outcome is `{"ok": output}` or `{"error": {code, message, retryable}}`, already msgpack: the host splices these bytes
into its answers and never unpacks them. Nothing here repairs an output, except that tags are put in order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgpack

from crema import wire
from crema.json_schema import SchemaRefused, compile_schema

# an output stands three levels deep in the header of an answer: header, list of outcomes, outcome
MAX_OUTPUT_DEPTH: Final = wire.MAX_DEPTH - 3
MAX_OUTCOME_BYTES: Final = 1024 * 1024
MAX_MESSAGE_CHARS: Final = 500

_OK: Final = b"\x81\xa2ok"
_LEAST_INT: Final = -(2**63)
_MOST_INT: Final = 2**64 - 1


class OutputInvalid(Exception):
    """What a model returned is not an output of its type; the text says where and what, without the value."""


class BatchInvalid(Exception):
    """`predict` did not return one output per item: the batch as a whole has no outcomes."""


class OutcomePacker:
    """Turns what `predict` (or `postprocess`) returned for one item into the bytes of its outcome.

    `output` is the manifest's: `{"type": …}` with `schema` for json. Raises ValueError for a type or schema that
    cannot be checked.
    """

    def __init__(self, output: dict[str, Any]) -> None:
        self._pack = msgpack.Packer().pack
        kind = output.get("type")
        if kind == "json":
            try:
                self._check = _json_check(output.get("schema", True))
            except SchemaRefused as error:
                raise ValueError(f"output.schema: {error}") from None
        elif kind in _CHECKS:
            self._check = _CHECKS[kind]
        else:
            raise ValueError(f"output.type {kind!r} is not one of {', '.join([*_CHECKS, 'json'])}")

    def pack(self, value: Any) -> bytes:
        """The outcome of one item: its output, its own error when `value` is an exception, else `model_output_invalid`."""
        if isinstance(value, BaseException):
            return error_outcome("item_rejected", text_of(value) or type(value).__name__)
        try:
            self._check(value)
            packed: bytes = self._pack(value)
        except OutputInvalid as error:
            return error_outcome("model_output_invalid", f"the model's output is not valid: {error}")
        # what msgpack says of text that is none, and of a whole number that is too large
        except (ValueError, OverflowError, RecursionError):
            return error_outcome(
                "model_output_invalid",
                "the model's output cannot be encoded: it holds text that is not valid Unicode, or a number over 64 bits",
            )
        if len(packed) > MAX_OUTCOME_BYTES:
            return error_outcome(
                "model_output_invalid",
                f"the model's output takes {len(packed)} bytes; the limit is {MAX_OUTCOME_BYTES}",
            )
        return _OK + packed


def error_outcome(code: str, message: str, retryable: bool = False) -> bytes:
    """The outcome of an item that failed."""
    text = message[:MAX_MESSAGE_CHARS].encode("utf-8", "replace").decode()
    packed: bytes = msgpack.packb({"error": {"code": code, "message": text, "retryable": retryable}})
    return packed


def text_of(error: BaseException) -> str:
    """What an exception of the model's says of itself. Empty where it cannot: its text is the model's code, too."""
    try:
        return str(error)
    except BaseException:
        return ""


def model_failed_message(kind: str) -> str:
    """What callers are told of an exception of the model's code: its class; the text may hold paths."""
    return f"the model raised {kind}; its traceback is in the minion's log"


def _members(value: Any, names: frozenset[str], at: str) -> None:
    if type(value) is not dict:
        raise OutputInvalid(f"{at} must be a dict (got {type(value).__name__})")
    if value.keys() != names:
        missing = sorted(name for name in names if name not in value)
        more = sorted(str(name) for name in value if name not in names)
        words = [f"lacks {', '.join(missing)}"] if missing else []
        words += [f"has the unknown {', '.join(more)[:100]}"] if more else []
        raise OutputInvalid(f"{at} {' and '.join(words)}")


def _share(value: Any, at: str) -> None:
    kind = type(value)
    if kind is not float and kind is not int:
        raise OutputInvalid(f"{at} must be a plain float (got {kind.__name__})")
    if not 0 <= value <= 1:
        raise OutputInvalid(f"{at} must be a finite number from 0 to 1")


def _text(value: Any, at: str) -> None:
    if type(value) is not str:
        raise OutputInvalid(f"{at} must be a str (got {type(value).__name__})")


_TAGS, _TAG = frozenset({"tags"}), frozenset({"name", "confidence"})
_SCORE = frozenset({"score"})
_CAPTION, _SENTENCE = frozenset({"caption"}), frozenset({"text", "confidence"})
_EMBEDDING = frozenset({"embedding", "dim"})


def _check_tags(value: Any) -> None:
    _members(value, _TAGS, "the output")
    tags = value["tags"]
    if type(tags) is not list:
        raise OutputInvalid(f"tags must be a list (got {type(tags).__name__})")
    before, is_sorted = 2.0, True
    for index, tag in enumerate(tags):
        _members(tag, _TAG, f"tags[{index}]")
        _text(tag["name"], f"tags[{index}].name")
        confidence = tag["confidence"]
        _share(confidence, f"tags[{index}].confidence")
        is_sorted = is_sorted and confidence <= before
        before = confidence
    if not is_sorted:  # the public answer promises the order, whoever wrote the model
        tags.sort(key=lambda tag: -tag["confidence"])


def _check_score(value: Any) -> None:
    _members(value, _SCORE, "the output")
    _share(value["score"], "score")


def _check_caption(value: Any) -> None:
    _members(value, _CAPTION, "the output")
    caption = value["caption"]
    _members(caption, _SENTENCE, "caption")
    _text(caption["text"], "caption.text")
    _share(caption["confidence"], "caption.confidence")


def _check_embedding(value: Any) -> None:
    _members(value, _EMBEDDING, "the output")
    numbers, dim = value["embedding"], value["dim"]
    if type(numbers) is not list:
        raise OutputInvalid(f"embedding must be a list (got {type(numbers).__name__})")
    if type(dim) is not int or dim != len(numbers):
        raise OutputInvalid("dim must be the length of embedding")
    if not {*map(type, numbers)} <= {float, int}:
        raise OutputInvalid("embedding must hold plain floats")
    if not all(map(isfinite, numbers)):
        raise OutputInvalid("embedding must hold finite numbers")


def _json_check(schema: Any) -> Callable[[Any], None]:
    fits = compile_schema(schema)

    def check(value: Any) -> None:
        _plain(value, 1)
        problem = fits(value)
        if problem is not None:
            raise OutputInvalid(f"the output{problem}")

    return check


def _plain(value: Any, depth: int) -> None:
    """Raises OutputInvalid unless `value` is made of plain Python objects that JSON knows, and not too deep."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > MAX_OUTPUT_DEPTH:
            raise OutputInvalid(f"the output is nested deeper than {MAX_OUTPUT_DEPTH}")
        if kind is dict:
            for key, member in value.items():
                if type(key) is not str:
                    raise OutputInvalid(f"a key must be a str (got {type(key).__name__})")
                _plain(member, depth + 1)
        else:
            for member in value:
                _plain(member, depth + 1)
    elif kind is float:
        if not isfinite(value):
            raise OutputInvalid("a number is not finite")
    elif kind is int:
        if not _LEAST_INT <= value <= _MOST_INT:
            raise OutputInvalid("a whole number does not fit into 64 bits")
    elif kind is not str and kind is not bool and value is not None:
        raise OutputInvalid(f"it must hold plain Python objects (got {kind.__module__}.{kind.__name__})")


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "tags": _check_tags,
    "score": _check_score,
    "caption": _check_caption,
    "embedding": _check_embedding,
}
