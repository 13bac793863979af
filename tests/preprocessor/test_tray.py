"""The tray: an image in, pixels out, its size held by the kernel, nothing of it left when it is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessor.tray import PIECE_BYTES, TRAY_BYTES, Tray, make_tray_memory

MIB = 1024 * 1024


@pytest.fixture
def sides() -> Iterator[tuple[Tray, Tray, int]]:
    """The host's view, the decoder's, and a descriptor of the memory."""
    fd = make_tray_memory()
    host, decoder = Tray(os.dup(fd)), Tray(os.dup(fd))
    yield host, decoder, fd
    for tray in (host, decoder):
        tray.close()
    os.close(fd)


def test_an_image_goes_in_and_its_pixels_come_back(sides: tuple[Tray, Tray, int]) -> None:
    host, decoder, _ = sides
    host.put(b"a photo")
    with decoder.view(7) as image:
        assert bytes(image) == b"a photo"
    decoder.fill([b"red", b"green"])
    assert host.take(8) == b"redgreen"


def test_what_the_host_took_is_out_of_the_decoder_s_reach(sides: tuple[Tray, Tray, int]) -> None:
    host, decoder, _ = sides
    decoder.fill([b"pixels"])
    taken = host.take(6)
    decoder.fill([b"others"])
    assert taken == b"pixels"


@pytest.mark.parametrize("size", [0, 4096, TRAY_BYTES - 1, TRAY_BYTES + 1])
def test_nobody_can_change_its_size_under_the_other_side(sides: tuple[Tray, Tray, int], size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(sides[2], size)


def test_what_a_large_image_took_is_given_back(sides: tuple[Tray, Tray, int]) -> None:
    host, decoder, fd = sides
    image = bytes([7]) * (20 * MIB)
    ends = [0]
    while ends[-1] < len(image):
        ends.append(host.put(image, ends[-1]))
    assert ends == list(range(0, 20 * MIB + 1, PIECE_BYTES)), "in pieces, so that others have their turn"
    assert decoder.view(len(image)) == image
    assert os.fstat(fd).st_blocks * 512 >= 20 * MIB
    host.take(100)
    assert os.fstat(fd).st_blocks * 512 <= 8 * MIB


def test_a_closed_tray_leaves_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    Tray(make_tray_memory()).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
