"""Params on a command line: values of the manifest's types, or what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from check.params_given import ParamRefused, params_given
from crema.host.manifest import Manifest, load_manifest
from tests.check.package_maker import MANIFEST, write_package

PARAMS = """\
  gain: {{type: number, default: 1.0, minimum: 0.0, maximum: 2.0}}
  count: {{type: integer, default: 3, minimum: 1}}
  is_strict: {{type: boolean, default: false}}
  style: {{type: string, enum: [plain, rich], default: plain}}
  note: {{type: string, default: "", max_length: 4}}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    gain = "  gain: {{type: number, default: 1.0, minimum: 0.0, maximum: 2.0}}\n"
    return load_manifest(write_package(tmp_path, manifest=MANIFEST.replace(gain, PARAMS)))


def test_each_type_is_read_as_its_own(manifest: Manifest) -> None:
    written = ["gain=0.5", "count=7", "is_strict=true", "style=rich", "note=a=b"]
    assert params_given(manifest, written) == {
        "gain": 0.5, "count": 7, "is_strict": True, "style": "rich", "note": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("gain", "a parameter is written name=value"),
        ("gian=1", "there is no parameter gian; did you mean gain?"),
        ("zzz=1", "there is no parameter zzz; there are: gain, count, is_strict, style, note"),
        ("gain=much", "gain is a number"),
        ("gain=nan", "gain is a finite number"),
        ("gain=3", "gain is at most 2.0"),
        ("count=1.5", "count is a whole number"),
        ("count=0", "count is at least 1"),
        ("is_strict=yes", "is_strict is true or false"),
        ("style=poor", "style is one of plain, rich"),
        ("note=12345", "note has at most 4 characters"),
    ],
)
def test_a_value_that_the_package_does_not_take_is_refused(
    manifest: Manifest, written: str, reason: str
) -> None:
    with pytest.raises(ParamRefused) as caught:
        params_given(manifest, [written])
    assert str(caught.value).startswith(reason)
