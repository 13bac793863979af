"""What a body is, told by its first bytes and never by its Content-Type; and which images are taken.

Looks at signatures only. Whether an image can be decoded is the preprocessor's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from crema.errors import CremaError
from crema.host.image_limits import MAX_IMAGE_BYTES
from crema.host.image_signatures import accepted, optional_format, switched_off
from crema.names import OptionalFormat

HEAD_BYTES: Final = 64
"""As many first bytes as any decision here looks at (white space before a JSON body aside)."""

Way = Literal["image", "form", "json", "msgpack"]

_BOM: Final = b"\xef\xbb\xbf"
_JSON_SPACE: Final = b" \t\r\n"
_MAP_BYTES: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))

# first bytes of what is often sent and not taken: (offset, bytes, what it is)
_FOREIGN: Final = (
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"BM", "no kind of BMP that is known"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"\0\0\0\x0cjP", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL", "JPEG XL"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"qoif", "QOI"),
)
# which formats this process takes beside the four: a fact of the cluster, said once at start (`switch_on`)
_switched_on: frozenset[OptionalFormat] = frozenset()


def switch_on(formats: Iterable[OptionalFormat]) -> None:
    """From now on this process takes images of these formats too. To be called before it listens."""
    global _switched_on
    _switched_on = frozenset(formats)


def _advice() -> str:
    return f"send {accepted(_switched_on, 'or')}"


def is_image(data: bytes | memoryview) -> bool:
    """Whether `data` begins with the whole signature of a format that is taken: JPEG, PNG, GIF, WebP, what is switched on."""
    head = bytes(data[:HEAD_BYTES])
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    return bool(_switched_on) and optional_format(head) in _switched_on


def is_map(head: bytes) -> bool:
    """Whether a body is a msgpack map by its first bytes.

    HDF5, MNG, a mangled PNG and pickles begin with the byte of a map too. Three capital letters would be keys that
    are numbers, and an empty map is followed by nothing: those are not maps.
    """
    if head[0] not in _MAP_BYTES:
        return False
    if head[0] == 0x80:
        return len(head) == 1
    name = head[1:4]
    return not (len(name) == 3 and name.isalpha() and name.isupper())


def way_in(head: bytes) -> Way:
    """Which of the ways in a body takes. `head` is the body's beginning, at best `HEAD_BYTES` of it or more.

    Raises CremaError: `invalid_request` for an empty body, `unsupported_media_type` for what is none of them.
    """
    if not head:
        raise CremaError(
            "invalid_request",
            "the body is empty; send an image, a form, JSON or msgpack",
            errors=[{"pointer": "", "message": "the body is empty; send an image, a form, JSON or msgpack"}],
        )
    if is_image(head):
        return "image"
    if head.startswith(b"--"):
        return "form"
    if head.removeprefix(_BOM).lstrip(_JSON_SPACE).startswith(b"{"):
        return "json"
    if is_map(head):
        return "msgpack"
    raise unsupported(head)


def may_become_json(head: bytes) -> bool:
    """Whether `head` is only the byte order mark and white space that may stand before a JSON body."""
    return bool(head) and not head.removeprefix(_BOM).strip(_JSON_SPACE)


def unsupported(data: bytes | memoryview) -> CremaError:
    """The error for bytes that are no image we take; says what they are, if that is known, and what to do."""
    head = bytes(data[:HEAD_BYTES])
    optional = optional_format(head)
    if optional is not None:
        return CremaError(
            "unsupported_media_type",
            f"{switched_off(optional)}; accepted are {accepted(_switched_on, 'and')}",
        )
    if head[4:8] == b"ftyp":
        found: str | None = "a video or another ISO media file"
    else:
        found = next((name for offset, mark, name in _FOREIGN if head[offset:].startswith(mark)), None)
    if found is not None:
        return CremaError(
            "unsupported_media_type", f"this is {found}, which is not taken here; convert it and {_advice()}"
        )
    return CremaError(
        "unsupported_media_type",
        "the body is neither an image nor a form, a JSON object or a msgpack map (judged by its first bytes); "
        f"{_advice()}, or a form with a part `image`",
    )


def unsupported_image(data: bytes | memoryview) -> CremaError:
    """As `unsupported`, for bytes that were given as an image inside a form, JSON or msgpack."""
    error = unsupported(data)
    if error.message.startswith("the body"):
        return CremaError(
            "unsupported_media_type", f"these bytes are no image that is taken here; {_advice()}"
        )
    return error


def too_large(image_bytes: int | None) -> CremaError:
    """The error for an image over the limit; `image_bytes` is its size where known."""
    found = "" if image_bytes is None else f" (this one has {image_bytes})"
    return CremaError(
        "image_too_large",
        f"an image may have {MAX_IMAGE_BYTES} bytes (20 MiB){found}; send it smaller or more compressed: "
        "models look at a few hundred pixels",
        limit=MAX_IMAGE_BYTES,
    )


def check_image(data: bytes | memoryview) -> CremaError | None:
    """What is wrong with an image that came inside an envelope, or None. An empty one is the caller's to name."""
    if len(data) > MAX_IMAGE_BYTES:
        return too_large(len(data))
    return None if is_image(data) else unsupported_image(data)
