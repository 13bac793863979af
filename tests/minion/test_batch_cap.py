"""The largest batch that memory allows."""

from __future__ import annotations

from minion.batch_cap import FIRST_PATIENCE, BatchCap


def passed(cap: BatchCap, n: int, times: int) -> None:
    for _ in range(times):
        cap.passed(n)


def test_half_of_what_found_no_memory_is_the_limit_from_then_on() -> None:
    cap = BatchCap(32)
    cap.ran_out(32)
    assert cap.size == 16
    cap.ran_out(16)
    assert cap.size == 8


def test_a_smaller_batch_that_ran_out_lowers_it_too() -> None:
    cap = BatchCap(32)
    cap.ran_out(9)
    assert cap.size == 4


def test_after_enough_full_batches_a_larger_one_is_tried_and_so_on_up_to_the_declared_size() -> None:
    cap = BatchCap(8)
    cap.ran_out(8)
    sizes = []
    while cap.size < 8:
        passed(cap, cap.size, FIRST_PATIENCE)
        sizes.append(cap.size)
    assert sizes == [5, 6, 7, 8]


def test_batches_that_were_not_full_say_nothing() -> None:
    cap = BatchCap(8)
    cap.ran_out(8)
    passed(cap, 3, 10 * FIRST_PATIENCE)
    assert cap.size == 4


def test_a_try_that_failed_is_repeated_only_after_twice_as_many_batches() -> None:
    cap = BatchCap(16)
    cap.ran_out(16)
    passed(cap, 8, FIRST_PATIENCE)
    assert cap.size == 10
    cap.ran_out(10)
    assert cap.size == 5
    passed(cap, 5, 2 * FIRST_PATIENCE - 1)
    assert cap.size == 5
    passed(cap, 5, 1)
    assert cap.size == 6


def test_an_item_that_finds_no_memory_even_alone_does_not_lower_it() -> None:
    cap = BatchCap(8)
    for n in (8, 4, 2, 1):
        cap.ran_out(n)
    assert cap.size == 8
    cap.ran_out(1)
    assert cap.size == 8
