"""Photos: drawn ones that decode and repeat, folders, and which of them each call sends."""

from __future__ import annotations

import io
import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from loadtest.drawn_photo import draw_photo
from loadtest.photo_stock import PhotoFiles, PhotosError, PhotoStock, prepare
from loadtest.scenario import PhotoKind


def test_a_drawn_photo_is_a_jpeg_of_its_size() -> None:
    photo = Image.open(io.BytesIO(draw_photo(160, 120, 1)))
    assert (photo.format, photo.size, photo.mode) == ("JPEG", (160, 120), "RGB")


def test_the_same_seed_draws_the_same_photo_and_another_a_different_one() -> None:
    assert draw_photo(64, 48, 1) == draw_photo(64, 48, 1)
    assert draw_photo(64, 48, 1) != draw_photo(64, 48, 2)


def test_a_drawn_photo_is_as_dear_to_decode_as_a_photograph() -> None:
    """Photographs of phones have 1.7 to 2.4 bits a pixel."""
    bits = 8 * len(draw_photo(640, 480, 3)) / (640 * 480)
    assert 1.5 < bits < 2.6


def test_drawn_photos_and_those_of_folders_are_prepared_alike(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"\xff\xd8mine")
    told: list[str] = []
    drawn, found = prepare(
        [PhotoKind(1.0, draw=(2000, 1000)), PhotoKind(2.0, files=(tmp_path / "mine.jpg",))],
        tmp_path,
        1,
        told.append,
    )
    assert len(drawn.paths) == 2 and told == ["drawing photos of 2000x1000"] * 2
    assert found == PhotoFiles(2.0, (str(tmp_path / "mine.jpg"),))
    assert PhotoStock.load([found]).choice(random.Random(1)) == b"\xff\xd8mine"


def test_kinds_are_sent_by_their_weights_and_the_photos_of_a_kind_alike() -> None:
    stock, chance = PhotoStock([(3.0, [b"a", b"b"]), (1.0, [b"c"])]), random.Random(1)
    counts = Counter(stock.choice(chance) for _ in range(8000))
    assert counts[b"c"] == pytest.approx(2000, rel=0.1)
    assert counts[b"a"] == pytest.approx(3000, rel=0.1)


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="name another one"):
        prepare([PhotoKind(1.0)], tmp_path, 1, lambda text: None)


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match=r"gone\.jpg cannot be read"):
        PhotoStock.load([PhotoFiles(1.0, (str(tmp_path / "gone.jpg"),))])


def test_photos_that_do_not_fit_into_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.photo_stock.MAX_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    with pytest.raises(PhotosError, match="name a folder with fewer"):
        PhotoStock.load([PhotoFiles(1.0, (str(tmp_path / "a.jpg"),))])
