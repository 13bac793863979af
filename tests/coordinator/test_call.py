"""Images and options are read the same whichever way in a body took."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.call import MAX_IMAGES, Call, read_batch, read_call
from coordinator.image_url import ImageUrl
from coordinator.media import Way
from coordinator.options import Entry
from coordinator.violations import Violations
from crema.errors import CremaError
from crema.host.image_limits import MAX_IMAGE_BYTES
from tests.coordinator.test_form import form, part

JPEG = b"\xff\xd8\xff\xe0 some pixels"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00"
TEXT = base64.b64encode(JPEG).decode()

Read = Callable[[Way, bytes, Violations], Call]


def read(way: Way, body: bytes, reader: Read = read_call) -> tuple[Call, list[str]]:
    violations = Violations()
    call = reader(way, body, violations)
    return call, [each["pointer"] for each in violations.error().extra["errors"]] if violations else []


def as_json(**members: Any) -> bytes:
    return json.dumps(members).encode()


def problem_of(call: Call, index: int = 0) -> CremaError:
    image = call.images[index]
    assert isinstance(image, CremaError)
    return image


def test_raw_bytes_are_the_image() -> None:
    call, wrong = read("image", JPEG)
    assert (call.images, call.sources, wrong) == ((JPEG,), [], [])


@pytest.mark.parametrize(
    ("way", "body"),
    [
        ("form", form(part("image", JPEG), part("models", b"tags"))),
        ("json", as_json(image={"base64": TEXT}, models=["tags"])),
        ("msgpack", msgpack.packb({"image": {"bytes": JPEG}, "models": ["tags"]})),
        ("msgpack", msgpack.packb({"image": {"base64": TEXT}, "models": ["tags"]})),
    ],
)
def test_every_envelope_says_the_same(way: Way, body: bytes) -> None:
    call, wrong = read(way, body)
    [image] = call.images
    assert not isinstance(image, CremaError)
    assert (bytes(image), call.sources[0].models, wrong) == (JPEG, (Entry("tags", "tags"),), [])


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({}, ["/image"]),
        ({"image": TEXT}, ["/image"]),
        ({"image": None}, ["/image"]),
        ({"image": []}, ["/image"]),
        ({"image": {}}, ["/image"]),
        ({"image": {"base64": TEXT, "url": "http://x"}}, ["/image"]),
        ({"image": {"bytes": TEXT}}, ["/image/bytes", "/image"]),
        ({"image": {"base64": TEXT, "name": "x"}}, ["/image/name"]),
        ({"image": {"base64": 3}}, ["/image/base64"]),
        ({"image": {"base64": ""}}, ["/image/base64"]),
        ({"image": {"base64": TEXT + "\n"}}, ["/image/base64"]),
        ({"image": {"base64": TEXT.rstrip("=") + "A"}}, ["/image/base64"]),
        ({"image": {"base64": "QUI"}}, ["/image/base64"]),
        ({"image": {"base64": "QUJD="}}, ["/image/base64"]),
        ({"image": {"base64": "QUJD===="}}, ["/image/base64"]),
        ({"image": {"base64": "QQ==QQ=="}}, ["/image/base64"]),
        ({"image": {"base64": "QR=="}}, ["/image/base64"]),
        ({"image": {"base64": "===="}}, ["/image/base64"]),
        ({"image": {"base64": "_-_-"}}, ["/image/base64"]),
        ({"image": {"base64": " " + TEXT}}, ["/image/base64"]),
        ({"image": {"base64": "\u00e9\u00e9\u00e9\u00e9"}}, ["/image/base64"]),
        ({"image": {"base64": "data:image/jpeg;base64," + TEXT}}, ["/image/base64"]),
        ({"image": {"url": 5}}, ["/image/url"]),
        ({"image": {"url": ""}}, ["/image/url"]),
        ({"image": {"url": "http://x/" + "y" * 8184}}, ["/image/url"]),
        ({"image": {"base64": TEXT}, "images": []}, ["/images"]),
        ({"image": {"base64": TEXT}, "model": "tags", "deadline": 5}, ["/model", "/deadline"]),
        (
            {"image": {"bogus": 1}, "deadline_ms": 0, "lane": "x"},
            ["/deadline_ms", "/lane", "/image/bogus", "/image"],
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_wrong_in_json_is_noted_where_it_stands(members: dict[str, Any], wrong: list[str]) -> None:
    assert read("json", as_json(**members))[1] == wrong


@pytest.mark.parametrize("value", ["text", 5, b"", [b"x"]])
def test_bytes_in_msgpack_must_be_bin(value: Any) -> None:
    assert read("msgpack", msgpack.packb({"image": {"bytes": value}}))[1] == ["/image/bytes"]


@pytest.mark.parametrize("way", ["json", "msgpack"])
def test_a_url_is_an_image_that_is_not_here_yet(way: Way) -> None:
    members = {"image": {"url": "https://example.com/a.jpg"}}
    call, wrong = read(way, as_json(**members) if way == "json" else msgpack.packb(members))
    [image] = call.images
    assert isinstance(image, ImageUrl)
    assert (image.url, wrong) == ("https://example.com/a.jpg", [])


@pytest.mark.parametrize(
    ("way", "body"),
    [
        ("form", form(part("image", HEIC))),
        ("json", as_json(image={"base64": base64.b64encode(HEIC).decode()})),
        ("msgpack", msgpack.packb({"image": {"bytes": HEIC}})),
    ],
)
def test_a_format_is_judged_alike_inside_an_envelope(way: Way, body: bytes) -> None:
    call, wrong = read(way, body)
    assert (problem_of(call).code, wrong) == ("unsupported_media_type", [])
    assert "HEIC" in problem_of(call).message


@pytest.mark.parametrize("way", ["image", "form", "json", "msgpack"])
def test_an_image_over_20_mib_is_too_large_whichever_way_it_came(way: Way) -> None:
    image = JPEG + bytes(MAX_IMAGE_BYTES)
    body = {
        "image": lambda: image,
        "form": lambda: form(part("image", image)),
        "json": lambda: as_json(image={"base64": base64.b64encode(image).decode()}),
        "msgpack": lambda: msgpack.packb({"image": {"bytes": image}}),
    }[way]()
    assert problem_of(read(way, body)[0]).code == "image_too_large"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (form(part("models", b"tags")), ["/image"]),
        (form(part("image", b"")), ["/image"]),
        (form(part("image", JPEG), part("image", JPEG)), ["/image"]),
        (form(part("images", JPEG)), ["/images", "/image"]),
        (
            form(part("image", JPEG), part("deadline_ms", b"soon"), part("lane", b"x")),
            ["/deadline_ms", "/lane"],
        ),
    ],
)
def test_what_is_wrong_in_a_form_is_noted(body: bytes, wrong: list[str]) -> None:
    assert read("form", body)[1] == wrong


def test_a_forms_own_field_wins_over_its_options() -> None:
    options = b'{"deadline_ms": 100, "models": [{"model": "captions", "params": {"n": 1}}]}'
    call, wrong = read(
        "form", form(part("options", options), part("image", JPEG), part("deadline_ms", b"200"))
    )
    assert wrong == []
    assert [source.deadline_ms for source in call.sources] == [200.0, 100.0]
    assert call.sources[1].models == (Entry("captions", "captions", {"n": 1}),)


# -- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "body"),
    [
        ("form", form(part("image", JPEG), part("image", JPEG), part("models", b"tags"))),
        ("json", as_json(images=[{"base64": TEXT}, {"base64": TEXT}], models=["tags"])),
        ("msgpack", msgpack.packb({"images": [{"bytes": JPEG}, {"bytes": JPEG}], "models": ["tags"]})),
    ],
)
def test_a_batch_is_several_images_and_one_set_of_options(way: Way, body: bytes) -> None:
    call, wrong = read(way, body, read_batch)
    assert ([bytes(image) for image in call.images if not isinstance(image, CremaError)], wrong) == (
        [JPEG, JPEG],
        [],
    )


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({}, ["/images"]),
        ({"images": []}, ["/images"]),
        ({"images": {}}, ["/images"]),
        ({"images": None}, ["/images"]),
        ({"image": {"base64": TEXT}}, ["/image", "/images"]),
        ({"images": [{"base64": TEXT}] * (MAX_IMAGES + 1)}, ["/images"]),
        ({"images": [{"base64": TEXT}], "lane": "x"}, ["/lane"]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_wrong_with_a_whole_batch_is_noted(members: dict[str, Any], wrong: list[str]) -> None:
    assert read("json", as_json(**members), read_batch)[1] == wrong


def test_32_images_are_a_batch() -> None:
    call, wrong = read("json", as_json(images=[{"base64": TEXT}] * MAX_IMAGES), read_batch)
    assert (len(call.images), wrong) == (MAX_IMAGES, [])


def test_what_is_wrong_with_one_image_of_a_batch_is_that_items_problem() -> None:
    images = [
        {"base64": TEXT},
        {"base64": "!"},
        7,
        {"url": "http://x"},
        {"base64": base64.b64encode(HEIC).decode()},
        {"b64": TEXT},
    ]
    call, wrong = read("json", as_json(images=images), read_batch)
    assert wrong == []
    codes = [image.code if isinstance(image, CremaError) else "fine" for image in call.images]
    assert codes == [
        "fine",
        "invalid_request",
        "invalid_request",
        "fine",
        "unsupported_media_type",
        "invalid_request",
    ]
    assert problem_of(call, 1).extra["errors"][0]["pointer"] == "/images/1/base64"
    assert [each["pointer"] for each in problem_of(call, 5).extra["errors"]] == ["/images/5/b64", "/images/5"]


def test_a_batch_of_no_form_parts_and_a_raw_image_are_refused() -> None:
    assert read("form", form(part("models", b"tags")), read_batch)[1] == ["/images"]
    with pytest.raises(CremaError) as caught:
        read("image", JPEG, read_batch)
    assert caught.value.code == "invalid_request"


@given(st.sampled_from(["form", "json", "msgpack"]), st.binary(max_size=200), st.booleans())
def test_no_body_makes_reading_fail_in_another_way(way: Way, body: bytes, is_batch: bool) -> None:
    start = {
        "form": b"--b\r\nContent-Disposition: form-data; name=",
        "json": b'{"image": ',
        "msgpack": b"\x82\xa5image",
    }[way]
    try:
        (read_batch if is_batch else read_call)(way, start + body, Violations())
    except CremaError as error:
        assert error.status in (400, 413)
