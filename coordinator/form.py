"""A multipart form taken apart: images as views of the body, the other fields as text. The boundary is the body's own
first line, so no Content-Type is needed. File names and part types are ignored.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from coordinator.violations import Violations, invalid
from crema.errors import CremaError

MAX_PARTS: Final = 40
MAX_FIELD_BYTES: Final = 64 * 1024
MAX_BOUNDARY_BYTES: Final = 70

IMAGE: Final = "image"

# The parser logs a warning with the caller's bytes for every malformed form; the 400 says enough.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Form:
    """What a form held: the `image` parts in order, and the other fields by name."""

    images: list[memoryview] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def read_form(body: bytes, known: tuple[str, ...], violations: Violations) -> Form:
    """Take a form apart. `known` are the fields that may stand beside `image`.

    Unknown and repeated fields are noted in `violations`; a form that is malformed or ends early raises CremaError.
    """
    body = _without_padding(body)
    parts = _Parts(body)
    form = Form()
    for name, start, end in parts.read():
        if name is None:
            violations.add((), 'a part has no name; write Content-Disposition: form-data; name="image"')
        elif name == IMAGE:
            form.images.append(memoryview(body)[start:end])
        elif name not in known:
            violations.unknown((name,), (IMAGE, *known), "field")
        elif name in form.fields:
            violations.add(
                (name,), "the field stands twice; give it once, several values separated by commas"
            )
        elif end - start > MAX_FIELD_BYTES:
            raise CremaError(
                "body_too_large",
                f"the field {name} has {end - start} bytes; a field other than `image` may have {MAX_FIELD_BYTES}",
                limit=MAX_FIELD_BYTES,
            )
        else:
            try:
                form.fields[name] = body[start:end].decode("utf-8")
            except UnicodeDecodeError:
                form.fields[name] = ""
                violations.add((name,), "the field is not UTF-8 text")
    return form


def _without_padding(body: bytes) -> bytes:
    """The same form without white space after its first boundary, which the parser forgives after the later ones."""
    line_end = body.find(b"\r\n", 0, MAX_BOUNDARY_BYTES + 8)
    line = body[: max(0, line_end)]
    boundary = line.rstrip(b" \t")
    return body if boundary == line else boundary + body[line_end:]


class _Parts:
    """Runs the parser over the whole body once and keeps where each part begins and ends."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._found: list[tuple[str | None, int, int]] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._start = self._end = -1
        self._is_whole = False

    def read(self) -> list[tuple[str | None, int, int]]:
        """(name, start, end) of every part. Raises CremaError for a malformed form."""
        line_end = self._body.find(b"\r\n", 0, MAX_BOUNDARY_BYTES + 8)
        boundary = self._body[2:line_end] if line_end > 0 else b""
        if not boundary or len(boundary) > MAX_BOUNDARY_BYTES:
            raise invalid(
                (),
                "malformed form: the first line must be -- and the boundary (1 to 70 characters), ended by CR LF",
            )
        if self._body.count(b"\r\n--" + boundary) > MAX_PARTS:
            # counted first, because a boundary that ends no part costs the parser a step for each of its bytes
            raise invalid(
                (), f"the form has more than {MAX_PARTS} parts, or a boundary that its parts contain"
            )
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_end": self._end_of_form,
            },
        )
        try:
            parser.write(self._body)
        except FormParserError:
            raise invalid((), "malformed form: a boundary or a part's header is not well-formed") from None
        if not self._is_whole:
            raise invalid((), "malformed form: it ends before its closing boundary")
        return self._found

    def _part_begin(self) -> None:
        self._headers = {}
        self._start = self._end = -1

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        # one write means one buffer, so the pieces of a part lie side by side in it
        if self._start < 0:
            self._start = start
        self._end = end

    def _part_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        raw = options.get(b"name") if kind == b"form-data" else None
        name = None if raw is None else raw.decode("utf-8", "replace")
        start = max(0, self._start)
        self._found.append((name, start, max(start, self._end)))

    def _end_of_form(self) -> None:
        self._is_whole = True
