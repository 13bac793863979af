"""Specs: what is accepted from the wire, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from preprocessor.spec import Spec, parse_specs, total_bytes

LIMIT = 64 * 1024 * 1024


def test_a_spec_needs_only_its_size() -> None:
    assert parse_specs([{"size": [224, 160]}], LIMIT) == (Spec(224, 160, "cover", "bilinear"),)


def test_a_spec_survives_the_wire() -> None:
    spec = Spec(384, 288, "contain", "lanczos")
    assert parse_specs([spec.as_wire()], LIMIT) == (spec,)
    gray = Spec(8, 8, colour="gray")
    assert parse_specs([gray.as_wire()], LIMIT) == (gray,) != (Spec(8, 8),)


def test_the_manifest_s_input_map_is_a_spec() -> None:
    written = {"kind": "image", "size": [224, 224], "fit": "stretch", "filter": "bicubic"}
    assert parse_specs([written], LIMIT) == (Spec(224, 224, "stretch", "bicubic"),)


def test_shape_is_rows_first() -> None:
    assert Spec(320, 200).shape == (200, 320, 3)
    assert Spec(320, 200, colour="gray").shape == (200, 320, 1)
    assert total_bytes([Spec(320, 200, colour="gray")]) == 320 * 200
    assert total_bytes([Spec(320, 200), Spec(10, 10)]) == 320 * 200 * 3 + 300


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "list"),
        ([], "1 to 64"),
        ([{"size": [8, 8]}] * 65, "1 to 64"),
        ([7], r"specs\[0\] must be a map"),
        ([{}], r"specs\[0\]\.size"),
        ([{"size": [8, 8]}, {"size": [0, 8]}], r"specs\[1\]\.size"),
        ([{"size": [8, 4097]}], "4096"),
        ([{"size": [8.0, 8]}], "size"),
        ([{"size": [True, 8]}], "size"),
        ([{"size": [8, 8], "fit": "squash"}], "cover, contain, stretch"),
        ([{"size": [8, 8], "fit": ["cover"]}], "cover, contain, stretch"),
        ([{"size": [8, 8], "filter": "sinc"}], "bilinear"),
        ([{"size": [8, 8], "colour": "grey"}], "rgb, gray"),
        ([{"size": [8, 8], "crop": "face"}], "unknown members crop"),
        ([{"size": [8, 8], "kind": "tensor"}], "kind"),
        ([{"size": [4096, 4096]}] * 2, "limit of one answer"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_specs(value, LIMIT)
