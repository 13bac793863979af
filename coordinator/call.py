"""A call: what one request asks for, read from whichever way in its body took. Images stay views of the body.

Nothing here knows models or versions, and nothing is decoded.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from coordinator.body import Body
from coordinator.envelope import decode_json, decode_msgpack
from coordinator.form import read_form
from coordinator.image_url import ImageUrl, read_url
from coordinator.media import Way, check_image, too_large
from coordinator.options import OPTIONS, Options, options_of_field, options_of_map, options_of_texts
from coordinator.violations import Path, Violations, invalid
from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.host.image_limits import MAX_IMAGE_BYTES

MAX_IMAGES: Final = 32

Image = Buffer | tuple[bytes, ...] | ImageUrl | CremaError
"""One image's bytes, perhaps in pieces, its address, or what is wrong with it."""

_FORM_FIELDS: Final = (*OPTIONS, "options")


class Call(msgspec.Struct, frozen=True):
    """The images of a request in order, and what its body says about options, strongest source first."""

    images: Sequence[Image]
    sources: list[Options]


def read_call(way: Way, body: Body, violations: Violations) -> Call:
    """The call of one image. Violations are noted; what is wrong with the image is in its place.

    Raises CremaError for a body that is malformed.
    """
    if way == "image" or isinstance(body, tuple):
        size = sum(map(len, body)) if isinstance(body, tuple) else len(body)
        return Call((too_large(size) if size > MAX_IMAGE_BYTES else body,), [])
    if way == "form":
        form = read_form(body, _FORM_FIELDS, violations)
        sources = _form_sources(form.fields, violations)
        if not form.images:
            violations.add(("image",), "is missing; send the photo as the form's part `image`")
            return Call((), sources)
        if len(form.images) > 1:
            violations.add(
                ("image",), f"may stand once (got {len(form.images)}); /v1/analyze/batch takes several"
            )
        return _call_of_one(_form_image(form.images[0], ("image",), violations), sources)
    members = decode_json(body) if way == "json" else decode_msgpack(body)
    _refuse_unknown(members, "image", violations)
    sources = [options_of_map(members, violations)]
    if "image" not in members:
        violations.add(("image",), f"is missing; write {_example(way)}")
        return Call((), sources)
    return _call_of_one(_image(members["image"], ("image",), way, violations), sources)


def read_batch(way: Way, body: Body, violations: Violations) -> Call:
    """The call of 1 to 32 images. As `read_call`, with everything that is wrong with one image in its place."""
    if way == "image" or isinstance(body, tuple):
        raise invalid(
            ("images",),
            "a batch is a form with repeated `image` parts, or a map with `images`; /v1/analyze takes one image",
        )
    if way == "form":
        form = read_form(body, _FORM_FIELDS, violations)
        sources = _form_sources(form.fields, violations)
        _check_number(len(form.images), violations)
        return Call(
            [_in_batch(_form_image, image, index) for index, image in enumerate(form.images[:MAX_IMAGES])],
            sources,
        )
    members = decode_json(body) if way == "json" else decode_msgpack(body)
    _refuse_unknown(members, "images", violations)
    sources = [options_of_map(members, violations)]
    listed = members.get("images")
    if type(listed) is not list:
        what = "must be a list" if "images" in members else "is missing"
        violations.add(
            ("images",), f"{what}; write a list of 1 to {MAX_IMAGES} images such as {_example(way)}"
        )
        return Call((), sources)
    _check_number(len(listed), violations)

    def element(value: Any, path: Path, of_image: Violations) -> Image | None:
        return _image(value, path, way, of_image)

    return Call([_in_batch(element, each, index) for index, each in enumerate(listed[:MAX_IMAGES])], sources)


def _call_of_one(image: Image | None, sources: list[Options]) -> Call:
    return Call(() if image is None else (image,), sources)


def _in_batch(read: Callable[[Any, Path, Violations], Image | None], value: Any, index: int) -> Image:
    """What is wrong with one image of a batch is that item's problem alone."""
    violations = Violations()
    image = read(value, ("images", index), violations)
    return violations.error() if image is None else image


def _check_number(found: int, violations: Violations) -> None:
    if not 1 <= found <= MAX_IMAGES:
        violations.add(("images",), f"must be 1 to {MAX_IMAGES} images (got {found})")


def _refuse_unknown(members: dict[str, Any], image: str, violations: Violations) -> None:
    for name in members:
        if name != image and name not in OPTIONS:
            violations.unknown((name,), (image, *OPTIONS))


def _form_sources(fields: dict[str, str], violations: Violations) -> list[Options]:
    """A field of its own wins over the same option in the field `options`."""
    sources = [options_of_texts(fields, violations)]
    if "options" in fields:
        sources.append(options_of_field(fields["options"], violations))
    return sources


def _form_image(data: memoryview, path: Path, violations: Violations) -> Image | None:
    if not len(data):
        violations.add(path, "the part is empty; send the photo's bytes (curl: -F image=@photo.jpg)")
        return None
    return check_image(data) or data


def _image(value: Any, path: Path, way: str, violations: Violations) -> Image | None:
    """A map in the shape of `image`: its bytes, or what is wrong with them; None when the map itself is wrong."""
    if type(value) is not dict:
        violations.add(path, f"must be a map; write {_example(way)}")
        return None
    known = ("base64", "url") if way == "json" else ("bytes", "base64", "url")
    is_good = True
    for name in value:
        if name not in known:
            violations.unknown((*path, name), known)
            is_good = False
    given = [name for name in known if name in value]
    if len(given) != 1:
        found = f"it holds {' and '.join(given)}" if given else "it holds none"
        violations.add(path, f"must hold exactly one of {', '.join(known)}; {found}")
        return None
    [name] = given
    place = (*path, name)
    if name == "url":
        url = read_url(value["url"], place, violations, _example(way))
        return url if is_good else None
    if name == "bytes":
        data = _from_bin(value["bytes"], place, violations)
    else:
        data = _from_base64(value["base64"], place, violations)
    if data is None or not is_good:
        return None
    return check_image(data) or data


def _from_bin(data: Any, path: Path, violations: Violations) -> bytes | None:
    if type(data) is not bytes:
        violations.add(path, "must be bin: the image's bytes")
    elif not data:
        violations.add(path, "is empty; send the image's bytes")
    else:
        return data
    return None


def _from_base64(text: Any, path: Path, violations: Violations) -> bytes | None:
    if type(text) is not str:
        violations.add(path, "must be a text: the image's bytes in base64")
        return None
    try:
        # as strict as binascii's strict mode, in a quarter of the time
        data = msgspec.convert(text, bytes)
        # the decoder forgives bits that the last group has left over
        if binascii.b2a_base64(data[(len(text) - 1) // 4 * 3 :], newline=False) != text[-4:].encode():
            raise ValueError
    except ValueError:
        hint = "; leave out what stands before the comma of a data: URL" if text[:5] == "data:" else ""
        violations.add(path, f"is not strict base64 (A-Z a-z 0-9 + / with = padding, no line breaks){hint}")
        return None
    if not data:
        violations.add(path, "is empty; send the image's bytes in base64")
        return None
    return data


def _example(way: str) -> str:
    return '{"base64": "…"}' if way == "json" else '{"bytes": bin}'
