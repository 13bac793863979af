"""A canary's share is sticky: the same key always meets the same version."""

from __future__ import annotations

from coordinator.canary import NOBODY, pick, point_of

KEYS = [f"caller-{n}" for n in range(10_000)]


def test_a_share_is_that_share_of_the_keys() -> None:
    chosen = sum(pick([5.0], point_of("tags", key)) == 0 for key in KEYS)
    assert 400 < chosen < 600


def test_while_a_share_grows_nobody_is_sent_back() -> None:
    for key in KEYS[:2000]:
        point = point_of("tags", key)
        if pick([5.0], point) == 0:
            assert pick([50.0], point) == 0


def test_a_point_is_the_same_in_every_process() -> None:
    assert f"{point_of('tags', 'caller-1'):.6f}" == "24.822369"


def test_models_draw_apart_from_each_other() -> None:
    both = sum(point_of("tags", key) < 10 and point_of("captions", key) < 10 for key in KEYS)
    assert 50 < both < 160


def test_two_canaries_share_without_overlap_and_the_rest_is_nobodys() -> None:
    assert [pick([10.0, 20.0], point) for point in (0.0, 9.99, 10.0, 29.9, 30.0, 99.9)] == [
        0, 0, 1, 1, NOBODY, NOBODY,
    ]  # fmt: skip
    assert pick([], 0.0) == NOBODY
    assert pick([0.0], 0.0) == NOBODY


def test_a_key_that_is_no_text_has_a_point_too() -> None:
    assert 0 <= point_of("tags", "\udcff") < 100
