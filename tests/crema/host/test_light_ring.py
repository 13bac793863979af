"""The folder that a model's virtualenv sees of crema."""

from __future__ import annotations

from pathlib import Path

import pytest

import crema
from crema.host import light_ring
from crema.host.light_ring import make_light_ring

SOURCE = Path(crema.__file__).parent


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_ring, "light_home", lambda: None)


def test_it_holds_links_to_the_modules_of_the_top_level_and_nothing_else(tmp_path: Path) -> None:
    ring = make_light_ring(tmp_path / "ring")
    assert [each.name for each in ring.iterdir()] == ["crema"]
    names = {each.name for each in (ring / "crema").iterdir()}
    assert names == {each.name for each in SOURCE.glob("*.py")}
    assert all(each.is_symlink() for each in (ring / "crema").iterdir())


def test_making_it_again_changes_nothing(tmp_path: Path) -> None:
    ring = make_light_ring(tmp_path)
    before = {each: each.lstat().st_ino for each in (ring / "crema").iterdir()}
    make_light_ring(tmp_path)
    assert {each: each.lstat().st_ino for each in (ring / "crema").iterdir()} == before


def test_links_of_an_older_release_are_replaced_or_removed(tmp_path: Path) -> None:
    folder = tmp_path / "crema"
    folder.mkdir()
    (folder / "wire.py").symlink_to("/older/wire.py")
    (folder / "gone.py").symlink_to("/older/gone.py")
    make_light_ring(tmp_path)
    assert (folder / "wire.py").resolve() == (SOURCE / "wire.py").resolve()
    assert not (folder / "gone.py").is_symlink()


def test_what_is_compiled_lies_beside_its_sources_and_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, ring = tmp_path / "made", tmp_path / "ring"
    for name in ("crema__mypyc.cpython-311.so", "crema/wire.cpython-311.so"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(light_ring, "light_home", lambda: made)
        make_light_ring(ring)
    assert {each.name for each in ring.iterdir()} == {"crema", "crema__mypyc.cpython-311.so"}
    assert (ring / "crema" / "wire.cpython-311.so").resolve() == made / "crema" / "wire.cpython-311.so"
    assert (ring / "crema" / "wire.py").resolve() == (SOURCE / "wire.py").resolve()
    make_light_ring(ring)
    assert [each.name for each in ring.iterdir()] == ["crema"]
    assert not [*(ring / "crema").glob("*.so")]
