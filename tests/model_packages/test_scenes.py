"""The drawn scenes: reproducible, varied, and their truth is that of the cropped, shrunk view."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from model_packages.scenes import SETTINGS, SUBJECTS, TAGS, TIMES, Seen, Truth, draw_scene
from model_packages.scenes.dataset import cover, jpeg
from model_packages.scenes.sentences import read, write
from model_packages.scenes.truth import VIEW, noise_kept
from model_packages.scenes.vocabulary import MAIN, SUBJECTS_IN, TAGS_FROM_PIXELS, THING_ID

SMALL = (320, 240)


@pytest.fixture(scope="module")
def many() -> list[Seen]:
    return [draw_scene(seed, (224, 224))[1].seen() for seed in range(160)]


def plain_truth(things: np.ndarray, **faults: float) -> Truth:
    perfect = {"fog": 0.0, "blur": 0.0, "noise": 0.0, "exposure": 0.0, "tilt": 0.0}
    return Truth(things, "person", "beach", "day", **(perfect | faults))


def person_at(x: float, width: int = 400, height: int = 300) -> np.ndarray:
    """A map of things with a person 20 pixels wide at x (share of the width)."""
    things = np.zeros((height, width), np.uint8)
    left = round(x * width) - 10
    things[120:200, max(0, left) : left + 20] = MAIN + THING_ID["person"]
    return things


def test_the_same_seed_draws_the_same_picture_and_truth() -> None:
    (one, truth), (other, again) = draw_scene(7, SMALL), draw_scene(7, SMALL)
    assert one.tobytes() == other.tobytes()
    assert truth.seen() == again.seen()


def test_other_seeds_draw_other_pictures() -> None:
    assert len({draw_scene(seed, (96, 72))[0].tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (224, 224), (500, 200)])
def test_picture_and_map_have_the_size_asked_for(size: tuple[int, int]) -> None:
    image, truth = draw_scene(3, size)
    assert image.size == size and image.mode == "RGB"
    assert truth.things.shape == (size[1], size[0])


def test_the_vocabulary_has_at_least_thirty_tags_without_a_double() -> None:
    assert len(TAGS) == len(set(TAGS)) >= 30


def test_every_thing_fits_beside_the_mark_of_the_main_subject() -> None:
    assert max(THING_ID.values()) < MAIN


def test_every_setting_has_subjects_that_exist() -> None:
    assert set(SUBJECTS_IN) == set(SETTINGS)
    assert {subject for allowed in SUBJECTS_IN.values() for subject in allowed} == set(SUBJECTS)


def test_every_tag_is_seen_and_none_is_seen_always(many: list[Seen]) -> None:
    counts = Counter(tag for seen in many for tag in seen.tags)
    assert set(counts) == set(TAGS)
    assert max(counts.values()) < 0.75 * len(many)


def test_settings_times_and_subjects_all_come_up(many: list[Seen]) -> None:
    assert {seen.setting for seen in many} == set(SETTINGS)
    assert {seen.time for seen in many} == set(TIMES)
    assert {seen.subject for seen in many} >= set(SUBJECTS) - {"lighthouse", "sailboat"}


def test_quality_is_spread_out(many: list[Seen]) -> None:
    low, high = np.percentile([seen.quality for seen in many], [10, 90])
    assert low < 0.3 and high > 0.7


def test_what_lies_outside_the_crop_gives_no_tag() -> None:
    edge, inside = person_at(0.06), person_at(0.5)
    assert "person" not in plain_truth(edge).seen().tags
    assert "person" in plain_truth(inside).seen().tags


def test_a_tag_needs_enough_visible_pixels_in_the_view() -> None:
    needed = TAGS_FROM_PIXELS["cactus"][1]
    things = np.zeros((VIEW, VIEW), np.uint8)
    things.ravel()[: needed - 1] = THING_ID["cactus"]
    assert "cactus" not in plain_truth(things).seen().tags
    things.ravel()[:needed] = THING_ID["cactus"]
    assert "cactus" in plain_truth(things).seen().tags


def test_a_thing_that_is_painted_over_gives_no_tag() -> None:
    things = person_at(0.5)
    things[100:220] = THING_ID["sea"]
    assert "person" not in plain_truth(things).seen().tags


def test_shrinking_erases_blur_and_noise() -> None:
    small, large = np.zeros((224, 224), np.uint8), np.zeros((896, 896), np.uint8)
    faults = {"blur": 1.5, "noise": 12.0}
    near, far = plain_truth(small, **faults).seen(), plain_truth(large, **faults).seen()
    assert near.losses["blur"] > 0.4 and far.losses["blur"] < 0.05
    assert near.losses["noise"] > 0.5 and far.losses["noise"] < 0.1
    assert far.quality > near.quality


@pytest.mark.parametrize("side", [300, 448, 900])
def test_the_noise_left_after_the_resize_is_what_the_truth_says(side: int) -> None:
    noise = np.random.default_rng(1).normal(128, 20, (side, side))
    shrunk = np.asarray(cover(Image.fromarray(noise.astype(np.uint8)).convert("RGB")), np.float64)
    assert shrunk.std() == pytest.approx(20 * noise_kept(side / VIEW), rel=0.15)


def test_every_fault_lowers_the_quality() -> None:
    things = person_at(0.44)
    perfect = plain_truth(things).seen().quality
    for fault, worst in {"blur": 4.0, "noise": 40.0, "exposure": -1.7, "tilt": 8.0}.items():
        assert plain_truth(things, **{fault: worst}).seen().quality < 0.7 * perfect, fault


def test_a_subject_on_a_third_is_composed_better_than_one_in_the_middle_and_at_the_edge() -> None:
    third, middle, edge = (plain_truth(person_at(x)).seen().quality for x in (0.375, 0.5, 0.16))
    assert third > middle > edge


def test_the_truth_does_not_depend_on_the_size_of_the_picture_beyond_its_pixels() -> None:
    differences = 0
    for seed in range(12):
        small, large = draw_scene(seed, (300, 225))[1].seen(), draw_scene(seed, (600, 450))[1].seen()
        assert (small.subject, small.setting, small.time) == (large.subject, large.setting, large.time)
        differences += len(set(small.tags) ^ set(large.tags))
        assert abs(small.quality - large.quality) < 0.08
    assert differences <= 4


def test_without_faults_the_camera_is_perfect() -> None:
    truth = draw_scene(11, SMALL, faults=False)[1]
    assert (truth.blur, truth.noise, truth.exposure) == (0.0, 0.0, 0.0)
    assert abs(truth.tilt) < 0.5


def test_a_sentence_is_read_back_as_it_was_meant(many: list[Seen]) -> None:
    for seen in many:
        claim = read(write(seen))
        assert (claim.subject, claim.setting, claim.time) == (seen.subject, seen.setting, seen.time), write(
            seen
        )


def test_sentences_are_short_enough_for_the_default_of_twenty_words(many: list[Seen]) -> None:
    assert max(len(write(seen).split()) for seen in many) <= 20


def test_a_wrong_sentence_is_not_read_as_right() -> None:
    assert read("a dog on a sandy beach at night").subject == "dog"
    assert read("a tree in the mountains, beside a house").subject == "tree"
    assert read("with nothing in it").setting == ""


def test_a_scene_is_stored_as_a_jpeg() -> None:
    assert jpeg(draw_scene(1, SMALL)[0])[:3] == b"\xff\xd8\xff"
