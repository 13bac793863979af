"""How the answers of two versions differ: by how much, in words, and over all photos."""

from __future__ import annotations

from typing import Any

import pytest

from check.comparison import compare, marked


def tags(**confidences: float) -> dict[str, Any]:
    return {"tags": [{"name": name, "confidence": value} for name, value in confidences.items()]}


def caption(text: str, confidence: float = 0.9) -> dict[str, Any]:
    return {"caption": {"text": text, "confidence": confidence}}


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("tags", tags(sun=0.9)),
        ("tags", tags()),
        ("score", {"score": 0.5}),
        ("caption", caption("a dog")),
        ("embedding", {"embedding": [0.0, 0.0], "dim": 2}),
        ("json", {"faces": 2}),
    ],
)
def test_equal_answers_are_no_change(kind: str, output: Any) -> None:
    found = compare(kind, [(output, output)])
    assert [(change.amount, change.words) for change in found.changes] == [(0.0, "the same")]
    assert found.facts[0] == "1 of 1 photos have the same answer"


def test_tags_that_came_and_went_are_named_with_their_confidence() -> None:
    found = compare("tags", [(tags(sun=0.9, sea=0.5), tags(sun=0.8, boat=0.4))])
    assert found.changes[0].words == "−sea 0.50, +boat 0.40, sun 0.90 → 0.80"
    assert found.figures["lost"] == {"sea": 1}
    assert found.figures["new"] == {"boat": 1}


def test_a_sure_tag_that_went_counts_more_than_an_unsure_one() -> None:
    sure, unsure = compare(
        "tags", [(tags(a=0.9, b=0.9), tags(a=0.9)), (tags(a=0.9, b=0.3), tags(a=0.9))]
    ).changes
    assert sure.amount > unsure.amount


def test_no_tag_in_common_is_the_largest_change() -> None:
    assert compare("tags", [(tags(a=0.9), tags(b=0.3))]).changes[0].amount == 1


def test_equal_sets_with_other_confidences_are_counted_as_such() -> None:
    found = compare("tags", [(tags(a=0.9), tags(a=0.8)), (tags(a=0.9), tags())])
    assert found.figures["same_set"] == 1
    assert found.figures["same"] == 0


def test_scores_that_only_shift_keep_their_order() -> None:
    pairs = [({"score": score}, {"score": score + 0.1}) for score in (0.1, 0.5, 0.3)]
    found = compare("score", pairs)
    assert found.figures["rank_correlation"] == pytest.approx(1)
    assert found.figures["mean_shift"] == pytest.approx(0.1)
    assert found.changes[0].words == "0.100 → 0.200"


def test_scores_in_reverse_order_are_the_largest_change() -> None:
    pairs = [({"score": score}, {"score": 1 - score}) for score in (0.1, 0.5, 0.9)]
    found = compare("score", pairs)
    assert found.figures["rank_correlation"] == pytest.approx(-1)
    assert found.changes[0].amount == 1
    assert found.changes[0].words == "0.100 → 0.900, place 3 → 1"


def test_equal_scores_share_a_place() -> None:
    pairs = [({"score": 0.5}, {"score": 0.5}), ({"score": 0.5}, {"score": 0.4})]
    assert compare("score", pairs).changes[1].words == "0.500 → 0.400, place 1.5 → 2"


def test_one_photo_has_no_order() -> None:
    assert compare("score", [({"score": 0.5}, {"score": 0.6})]).figures["rank_correlation"] is None


def test_a_caption_shows_which_words_came_and_went() -> None:
    found = compare("caption", [(caption("a dog on the beach"), caption("a cat on the beach"))])
    assert found.changes[0].words == "a [−dog] [+cat] on the beach"
    assert found.figures["lost"] == {"dog": 1}


def test_punctuation_is_no_part_of_a_word() -> None:
    found = compare("caption", [(caption("at night, under stars"), caption("at night, under clouds"))])
    assert found.figures["lost"] == {"stars": 1}


def test_a_caption_with_another_confidence_counts_less_than_one_with_another_word() -> None:
    surer, other = compare(
        "caption",
        [(caption("a dog", 0.1), caption("a dog", 1.0)), (caption("a b c d"), caption("a b c e"))],
    ).changes
    assert 0 < surer.amount < other.amount


def test_words_that_only_came_are_marked() -> None:
    assert marked(["a", "dog"], ["a", "big", "dog"]) == "a [+big] dog"


def test_embeddings_are_compared_by_their_angle() -> None:
    turned = ({"embedding": [1.0, 0.0], "dim": 2}, {"embedding": [0.0, 1.0], "dim": 2})
    found = compare("embedding", [turned])
    assert found.changes[0].amount == 0.5
    assert found.figures["least_cosine"] == 0


def test_embeddings_of_other_lengths_have_nothing_in_common() -> None:
    longer = ({"embedding": [1.0], "dim": 1}, {"embedding": [1.0, 0.0], "dim": 2})
    assert compare("embedding", [longer]).changes[0].amount == 1
