"""The file of a measured curve: written whole, read with care, named by package and kind of device."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.measured_curve import CurveFileInvalid, MeasuredCurve, curve_path

CURVE = MeasuredCurve("tags@3.1", "cpu", ((1, 0.011), (8, 0.02)))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "curves" / "a.cpu.json"
    CURVE.write(path)
    assert MeasuredCurve.read(path) == CURVE


def test_nothing_else_is_left_beside_the_file(tmp_path: Path) -> None:
    CURVE.write(tmp_path / "curves" / "a.cpu.json")
    assert [path.name for path in (tmp_path / "curves").iterdir()] == ["a.cpu.json"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        '{"model": "a", "device": "cpu", "curve": []}',
        '{"model": "a", "device": "cpu", "curve": [[1]]}',
        '{"model": "a", "device": "cpu", "curve": [[1, "x"]]}',
        '{"model": "a", "device": "cpu", "curve": [[0, 0.1]]}',
        '{"model": "a", "device": "cpu", "curve": [["1", 0.1]]}',
        '{"model": "a", "device": "cpu", "curve": [[2, 0.1], [1, 0.1]]}',
        '{"model": "a", "device": "cpu", "curve": [[1, -0.1]]}',
        '{"model": "a", "device": "cpu", "curve": [[1, NaN]]}',
    ],
)
def test_what_is_no_curve_is_refused_with_what_to_do(tmp_path: Path, body: str) -> None:
    (tmp_path / "bad.json").write_text(body)
    with pytest.raises(CurveFileInvalid, match="measure again or remove the file"):
        MeasuredCurve.read(tmp_path / "bad.json")


def test_a_file_that_is_not_there_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(CurveFileInvalid):
        MeasuredCurve.read(tmp_path / "nowhere.json")


def test_all_gpus_of_a_machine_share_a_curve_and_the_cpu_has_its_own() -> None:
    assert curve_path(Path("c"), "d", "cuda:1") == Path("c/d.cuda.json")
    assert curve_path(Path("c"), "d", "cpu") == Path("c/d.cpu.json")
