"""Forms are taken apart by the boundary of their own first line."""

from __future__ import annotations

import pytest

from coordinator.form import MAX_FIELD_BYTES, MAX_PARTS, Form, read_form
from coordinator.violations import Violations
from crema.errors import CremaError

KNOWN = ("models", "deadline_ms", "options")


def part(name: str | None, data: bytes, boundary: bytes = b"XyZ", headers: bytes = b"") -> bytes:
    """One part of a form."""
    disposition = (
        b"" if name is None else b'Content-Disposition: form-data; name="' + name.encode() + b'"\r\n'
    )
    return b"--" + boundary + b"\r\n" + disposition + headers + b"\r\n" + data + b"\r\n"


def form(*parts: bytes, boundary: bytes = b"XyZ") -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def read(body: bytes) -> tuple[Form, Violations]:
    violations = Violations()
    return read_form(body, KNOWN, violations), violations


def test_images_and_fields_are_found() -> None:
    found, violations = read(
        form(part("image", b"one"), part("models", b"tags,captions"), part("image", b"\r\ntwo--"))
    )
    assert [bytes(image) for image in found.images] == [b"one", b"\r\ntwo--"]
    assert found.fields == {"models": "tags,captions"}
    assert not violations


def test_an_image_may_hold_what_looks_like_a_boundary() -> None:
    data = b"a\r\n--XyW\r\nb\r\n--Xy\r\n-\r\n\r\r\n--X"
    found, _ = read(form(part("image", data)))
    assert bytes(found.images[0]) == data


def test_images_are_views_of_the_body_and_no_copies() -> None:
    body = form(part("image", b"pixels"))
    found, _ = read(body)
    assert found.images[0].obj is body


def test_file_names_and_types_of_parts_do_not_matter() -> None:
    image = part("image", b"x", headers=b"Content-Type: text/html\r\n")
    named = image.replace(b'"image"', b'"image"; filename="../../etc/passwd"')
    found, violations = read(form(named, part("models", b"tags", headers=b"content-type: image/png\r\n")))
    assert (len(found.images), found.fields, bool(violations)) == (1, {"models": "tags"}, False)


def test_what_follows_the_closing_boundary_is_ignored() -> None:
    found, _ = read(form(part("image", b"x")) + b"epilogue")
    assert len(found.images) == 1


@pytest.mark.parametrize("padding", [b" ", b"\t", b" \t "])
def test_white_space_after_any_boundary_is_ignored(padding: bytes) -> None:
    padded = form(part("image", b"x"), part("models", b"tags")).replace(
        b"--XyZ\r\n", b"--XyZ" + padding + b"\r\n"
    )
    found, _ = read(padded)
    assert ([bytes(image) for image in found.images], found.fields) == ([b"x"], {"models": "tags"})


def test_unknown_and_repeated_fields_are_noted_with_a_suggestion() -> None:
    _, violations = read(
        form(part("image", b"x"), part("model", b"tags"), part("models", b"a"), part("models", b"b"))
    )
    errors = violations.error().extra["errors"]
    assert [each["pointer"] for each in errors] == ["/model", "/models"]
    assert "did you mean models?" in errors[0]["message"]


def test_a_part_without_a_name_is_noted() -> None:
    _, violations = read(form(part(None, b"x")))
    assert "has no name" in violations.error().message


def test_a_field_that_is_not_text_is_noted() -> None:
    _, violations = read(form(part("models", b"\xff")))
    assert violations.error().extra["errors"][0]["pointer"] == "/models"


@pytest.mark.parametrize(
    "body",
    [
        b"--",
        b"--\r\n",
        b"--XyZ",
        b"--XyZ\n\nx\n--XyZ--\n",
        b"--" + b"b" * 71 + b"\r\n",
        b"--XyZ\r\n",
        b"--XyZ--\r\n",
        part("image", b"never closed"),
        form(part("image", b"x"))[:-6],
        b"--XyZ\r\nno colon here\r\n\r\nx\r\n--XyZ--\r\n",
        b"--XyZ\r\n" + b"A" * 9000 + b": 1\r\n\r\nx\r\n--XyZ--\r\n",
        form(*[part("image", b"x")] * (MAX_PARTS + 1)),
        form(part("image", b"\r\n--b " * 500_000, b"b"), boundary=b"b"),
    ],
    ids=lambda body: repr(body[:20]) + str(len(body)),
)
def test_a_malformed_form_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(CremaError) as caught:
        read(body)
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)


def test_forty_parts_are_a_form() -> None:
    found, _ = read(form(*[part("image", b"x")] * MAX_PARTS))
    assert len(found.images) == MAX_PARTS


def test_a_field_over_its_limit_is_too_large_a_body() -> None:
    with pytest.raises(CremaError) as caught:
        read(form(part("models", b"a" * (MAX_FIELD_BYTES + 1))))
    assert caught.value.code == "body_too_large"
