"""The batcher: who goes next, exactly."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from crema.names import Lane
from minion.batcher import Batcher, Waiting


def item(
    lane: Lane = "interactive", *, deadline: float = math.inf, key: str = "u8", queued_at: float = 0.0
) -> Waiting:
    return Waiting(key, lane, deadline, queued_at)


def filled(*items: Waiting, max_wait_s: float = 0.0) -> Batcher[Waiting]:
    batcher: Batcher[Waiting] = Batcher(max_wait_s)
    for each in items:
        batcher.join(each)
    return batcher


def test_a_batch_is_what_waits_now_first_come_first_served() -> None:
    first, second = item(), item()
    formed = filled(first, second).form(0.0, 8)
    assert formed.batch == [first, second]


def test_a_batch_has_at_most_the_limit_and_the_rest_keeps_waiting() -> None:
    items = [item() for _ in range(5)]
    batcher = filled(*items)
    assert batcher.form(0.0, 3).batch == items[:3]
    assert len(batcher) == 2
    assert batcher.form(0.0, 3).batch == items[3:]


def test_interactive_goes_before_bulk() -> None:
    bulk, interactive = item("bulk"), item()
    assert filled(bulk, interactive).form(0.0, 8).batch == [interactive, bulk]


def test_bulk_fills_the_places_that_interactive_leaves() -> None:
    bulk = [item("bulk") for _ in range(4)]
    interactive = [item() for _ in range(2)]
    batcher = filled(*bulk, *interactive)
    assert batcher.form(0.0, 4).batch == [*interactive, *bulk[:2]]


def test_beside_interactive_items_bulk_fills_a_batch_up_to_its_own_limit() -> None:
    bulk = [item("bulk") for _ in range(9)]
    interactive = [item() for _ in range(2)]
    batcher = filled(*bulk, *interactive)
    assert batcher.form(0.0, 8, bulk_limit=4).batch == [*interactive, *bulk[:2]]
    assert batcher.form(1.0, 8, bulk_limit=4).batch == bulk[2:6]


def test_the_limit_of_bulk_takes_nothing_from_interactive() -> None:
    interactive = [item() for _ in range(8)]
    assert filled(item("bulk"), *interactive).form(0.0, 8, bulk_limit=4).batch == interactive


def test_bulk_fills_the_whole_batch_when_no_interactive_item_has_come_for_ten_seconds() -> None:
    bulk = [item("bulk", queued_at=5.0) for _ in range(12)]
    batcher = filled(item(), *bulk)
    assert len(batcher.form(9.9, 6, bulk_limit=2).batch) == 2
    assert len(batcher.form(10.0, 6, bulk_limit=2).batch) == 6


def test_bulk_that_was_always_alone_fills_the_whole_batch() -> None:
    assert len(filled(*[item("bulk") for _ in range(8)]).form(0.0, 8, bulk_limit=2).batch) == 8


def test_a_batch_is_full_when_nothing_that_comes_later_could_join_it() -> None:
    assert not filled(*[item() for _ in range(7)]).is_full(0.0, 8, 8)
    assert filled(*[item() for _ in range(8)]).is_full(0.0, 8, 2)
    assert filled(*[item("bulk") for _ in range(8)]).is_full(0.0, 8, 2)


def test_beside_interactive_items_a_crowd_of_bulk_leaves_room_for_the_next_one() -> None:
    batcher = filled(item(), *[item("bulk") for _ in range(20)])
    assert not batcher.is_full(0.0, 8, 4)
    assert batcher.is_full(0.0, 8, 8)
    assert batcher.is_full(10.0, 8, 4)


def test_expired_items_are_dropped_when_the_batch_is_formed_and_it_stays_full() -> None:
    late, fresh = [item(deadline=1.0) for _ in range(3)], [item(deadline=9.0) for _ in range(2)]
    formed = filled(*late, *fresh).form(1.0, 2)
    assert formed.expired == late
    assert formed.batch == fresh


def test_a_batch_is_not_shrunk_for_an_item_that_would_only_make_it_alone() -> None:
    urgent, patient = item(deadline=0.001), item()
    assert filled(urgent, patient).form(0.0, 2).batch == [urgent, patient]


def test_only_expired_items_give_an_empty_batch() -> None:
    formed = filled(item(deadline=1.0)).form(2.0, 4)
    assert formed.batch == []
    assert len(formed.expired) == 1


def test_a_batch_that_never_ran_goes_back_to_the_front_in_its_order() -> None:
    first, second, bulk, third = item(), item(), item("bulk"), item()
    batcher = filled(first, second, bulk)
    taken = batcher.form(0.0, 3).batch
    batcher.join(third)
    batcher.put_back(taken)
    assert batcher.form(0.0, 8).batch == [first, second, third, bulk]


def test_items_of_another_shape_wait_for_their_own_batch_in_their_order() -> None:
    a, b, c, d = item(key="a"), item(key="b"), item(key="a"), item(key="b")
    batcher = filled(a, b, c, d)
    assert batcher.form(0.0, 8).batch == [a, c]
    assert batcher.form(0.0, 8).batch == [b, d]


def test_an_item_leaves_from_anywhere() -> None:
    first, second, third = item(), item(), item()
    batcher = filled(first, second, third)
    assert batcher.leave(second)
    assert batcher.form(0.0, 8).batch == [first, third]


def test_an_item_that_does_not_wait_any_more_cannot_leave() -> None:
    only = item()
    batcher = filled(only)
    batcher.form(0.0, 8)
    assert not batcher.leave(only)


def test_what_goes_ahead_of_a_lane_is_counted() -> None:
    batcher = filled(item(), item("bulk"), item("bulk"))
    assert batcher.ahead("interactive") == 1
    assert batcher.ahead("bulk") == 3


def test_a_batch_is_due_at_once_when_anything_waits() -> None:
    assert filled().due_at(5.0, 8) is None
    assert filled(item(queued_at=1.0)).due_at(5.0, 8) == 5.0


def test_a_declared_wait_runs_from_the_oldest_item() -> None:
    batcher = filled(item(queued_at=5.0), item("bulk", queued_at=4.0), max_wait_s=2.0)
    assert batcher.due_at(5.0, 8) == 6.0
    assert batcher.due_at(7.0, 8) == 7.0


def test_a_full_batch_does_not_wait() -> None:
    batcher = filled(item(queued_at=5.0), item(queued_at=5.0), max_wait_s=2.0)
    assert batcher.due_at(5.0, 2) == 5.0


def test_expired_items_can_be_dropped_without_forming_a_batch() -> None:
    late, fresh = item(deadline=1.0), item(deadline=3.0)
    batcher = filled(late, fresh)
    assert batcher.drop_expired(2.0) == [late]
    assert len(batcher) == 1


def test_items_that_the_next_worker_would_be_too_late_for_are_hopeless() -> None:
    soon, later = item(deadline=1.0), item(deadline=9.0)
    batcher = filled(soon, later)
    assert batcher.drop_hopeless(ready_at=2.0, patience_s=1.0) == [soon]


def test_an_item_without_a_deadline_waits_for_a_new_worker_as_long_as_the_model_promises() -> None:
    old, new = item(queued_at=0.0), item(queued_at=5.0)
    batcher = filled(old, new)
    assert batcher.drop_hopeless(ready_at=5.5, patience_s=1.0) == [old]


@given(
    st.lists(
        st.tuples(st.sampled_from(["interactive", "bulk"]), st.sampled_from("ab"), st.booleans()), max_size=40
    ),
    st.integers(1, 8),
)
def test_every_item_comes_out_once_in_a_batch_of_one_shape(
    drawn: list[tuple[Lane, str, bool]], limit: int
) -> None:
    items = [item(lane, key=key, deadline=0.0 if is_expired else math.inf) for lane, key, is_expired in drawn]
    batcher = filled(*items)
    out: list[Waiting] = []
    for _ in range(len(items) + 1):
        formed = batcher.form(1.0, limit)
        assert len(formed.batch) <= limit
        assert len({each.key for each in formed.batch}) <= 1
        assert all(each.deadline <= 1.0 for each in formed.expired)
        out += formed.batch + formed.expired
    assert len(batcher) == 0
    assert sorted(map(id, out)) == sorted(map(id, items))
