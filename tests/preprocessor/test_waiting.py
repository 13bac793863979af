"""Waiting: interactive before bulk, oldest first; who is too late leaves without a decoder."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from crema.names import Lane
from preprocessor.waiting import Waiting


@dataclass(eq=False)
class One:
    name: str
    lane: Lane = "interactive"
    work: float = 1.0
    deadline: float | None = None
    is_heavy: bool = False
    is_quick: bool = True


def taken(waiting: Waiting[One], now: float = 0.0) -> list[str]:
    names = []
    while (one := waiting.take(now)[0]) is not None:
        names.append(one.name)
    return names


def test_interactive_goes_before_bulk_that_came_earlier() -> None:
    waiting: Waiting[One] = Waiting()
    for one in (One("b1", "bulk"), One("i1"), One("b2", "bulk"), One("i2")):
        waiting.join(one)
    assert taken(waiting) == ["i1", "i2", "b1", "b2"]


def test_the_expired_are_handed_out_and_not_decoded() -> None:
    waiting: Waiting[One] = Waiting()
    for one in (One("late", deadline=5.0), One("b late", "bulk", deadline=1.0), One("b", "bulk")):
        waiting.join(one)
    one, expired = waiting.take(5.0)
    assert one is not None and one.name == "b" and [each.name for each in expired] == ["late", "b late"]
    assert not len(waiting) and waiting.work_before("bulk") == (0, 0)


def test_a_newcomer_counts_only_what_goes_first() -> None:
    waiting: Waiting[One] = Waiting()
    for one in (One("b", "bulk", 8.0), One("i", work=2.0)):
        waiting.join(one)
    assert (waiting.images_before("interactive"), waiting.work_before("interactive")) == (1, (2.0, 0.0))
    assert (waiting.images_before("bulk"), waiting.work_before("bulk")) == (2, (10.0, 0.0))


def test_who_leaves_is_not_taken() -> None:
    waiting: Waiting[One] = Waiting()
    one = One("gone")
    waiting.join(one)
    waiting.leave(one)
    assert taken(waiting) == [] and waiting.work_before("bulk") == (0, 0)
    with pytest.raises(ValueError):
        waiting.leave(one)


def test_who_is_heavy_goes_on_waiting_and_goes_first_when_he_may() -> None:
    waiting: Waiting[One] = Waiting()
    for one in (One("heavy", work=9.0, is_heavy=True), One("light"), One("b", "bulk")):
        waiting.join(one)
    light, _ = waiting.take(0.0, heavy=False)
    assert light is not None and light.name == "light"
    assert waiting.work_before("interactive") == (0.0, 9.0)
    assert waiting.work_before("bulk") == (1.0, 9.0)
    assert (waiting.heavies_before("interactive"), waiting.images_before("bulk")) == (1, 2)
    assert taken(waiting) == ["heavy", "b"]


def test_one_who_waits_for_heavy_work_to_end_expires_like_any_other() -> None:
    waiting: Waiting[One] = Waiting()
    waiting.join(One("heavy", work=9.0, deadline=1.0, is_heavy=True))
    assert waiting.take(0.5, heavy=False) == (None, [])
    assert [one.name for one in waiting.take(1.0, heavy=False)[1]] == ["heavy"]


def test_beside_a_quick_one_goes_the_next_if_it_is_quick_too_and_of_the_same_lane() -> None:
    waiting: Waiting[One] = Waiting()
    first, bulk = One("first"), One("bulk", "bulk")
    for one in (One("late", deadline=1.0), One("a"), One("slow", is_quick=False), One("b")):
        waiting.join(one)
    one, expired = waiting.take(2.0, beside=first)
    assert (one and one.name, [each.name for each in expired]) == ("a", ["late"])
    assert waiting.take(2.0, beside=first) == (None, [])
    assert taken(waiting) == ["slow", "b"]
    waiting.join(bulk)
    assert waiting.take(2.0, beside=first) == (None, [])
    assert waiting.take(2.0, beside=bulk) == (bulk, [])


def test_who_is_put_back_goes_first_in_its_lane() -> None:
    waiting: Waiting[One] = Waiting()
    for one in (One("i"), One("b", "bulk")):
        waiting.join(one)
    for one in (One("b back", "bulk"), One("i back")):
        waiting.put_back(one)
    assert waiting.work_before("bulk") == (4.0, 0.0)
    assert taken(waiting) == ["i back", "i", "b back", "b"]
