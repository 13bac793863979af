"""Which items run together after a batch raised."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minion.batcher import Waiting
from minion.splitter import Part, Splitter


class Numbered(Waiting):
    """An item with a number, due when told."""

    def __init__(self, number: int, deadline: float = math.inf) -> None:
        super().__init__(None, "interactive", deadline, 0.0)
        self.number = number


def run(n: int, guilty: set[int], *, most: int = 10_000) -> tuple[set[int], set[int], list[int]]:
    """A batch of `n` with these guilty ones: (who passed, who failed, the sizes of the extra runs).

    A batch of more than `most` finds no memory, and `most` is learned at once.
    """
    splitter: Splitter[Numbered] = Splitter()
    part: Part[Numbered] | None = Part([Numbered(number) for number in range(n)])
    passed: set[int] = set()
    failed: set[int] = set()
    sizes: list[int] = []
    limit = n
    while part is not None:
        assert len(sizes) < 10_000
        numbers = {item.number for item in part.items}
        if len(numbers) > most:
            failed |= {item.number for item in splitter.too_large(part)}
            limit = min(limit, len(numbers) // 2)
        elif numbers & guilty:
            failed |= {item.number for item in splitter.raised(part)}
        else:
            splitter.passed(part)
            passed |= numbers
        part = splitter.next(0.0, limit).part
        if part is not None:
            sizes.append(len(part.items))
    assert len(splitter) == 0
    assert not passed & failed
    assert passed | failed == set(range(n))
    return passed, failed, sizes


@pytest.mark.parametrize("n", [*range(2, 34), 64, 100, 1024])
def test_one_guilty_item_fails_alone_within_the_promised_number_of_runs(n: int) -> None:
    for guilty in range(n) if n < 65 else (0, 1, n // 2, n - 2, n - 1):
        _, failed, sizes = run(n, {guilty})
        assert failed == {guilty}
        assert len(sizes) <= 2 * math.log2(n) + 1


def test_a_half_that_must_be_guilty_is_not_run_as_a_whole() -> None:
    assert run(8, {7})[2] == [4, 2, 1, 1]


def test_the_other_half_runs_before_a_guilty_half_is_looked_into() -> None:
    assert run(8, {0})[2] == [4, 4, 2, 2, 1, 1]


@given(st.integers(2, 32), st.sets(st.integers(0, 31), min_size=1, max_size=3))
@settings(deadline=None)
def test_several_guilty_ones_fail_and_only_they(n: int, guilty: set[int]) -> None:
    guilty = {number for number in guilty if number < n}
    passed, failed, sizes = run(n, guilty)
    if passed:
        assert failed == guilty
        assert len(sizes) <= max(1, len(guilty)) * (2 * math.log2(n) + 1)


@pytest.mark.parametrize("n", [2, 8, 32])
def test_a_batch_of_which_nothing_passes_is_given_up_within_the_same_number_of_runs(n: int) -> None:
    passed, failed, sizes = run(n, set(range(n)))
    assert (passed, len(failed)) == (set(), n)
    assert len(sizes) <= 2 * math.log2(n) + 1


def test_a_failure_that_does_not_come_again_costs_nobody_anything() -> None:
    splitter: Splitter[Numbered] = Splitter()
    splitter.raised(Part([Numbered(number) for number in range(8)]))
    answered: list[int] = []
    while (part := splitter.next(0.0, 8).part) is not None:
        splitter.passed(part)
        answered += [item.number for item in part.items]
    assert sorted(answered) == list(range(8))


def test_without_memory_for_more_than_four_thirty_two_run_by_fours_in_their_order() -> None:
    passed, failed, sizes = run(32, set(), most=4)
    assert sizes == [16, 8, *[4] * 8]
    assert (len(passed), failed) == (32, set())


def test_an_item_that_finds_no_memory_alone_fails_alone() -> None:
    splitter: Splitter[Numbered] = Splitter()
    item = Numbered(1)
    assert splitter.too_large(Part([item])) == [item]


def test_what_expired_meanwhile_does_not_run_again() -> None:
    splitter: Splitter[Numbered] = Splitter()
    late, other = Numbered(1, deadline=5.0), Numbered(2)
    splitter.raised(Part([late, other]))
    taken = splitter.next(6.0, 8)
    assert taken.expired == [late]
    assert taken.part is not None
    assert taken.part.items == [other]


def test_a_caller_that_leaves_takes_its_item_out() -> None:
    splitter: Splitter[Numbered] = Splitter()
    gone, other = Numbered(1), Numbered(2)
    splitter.raised(Part([gone, other]))
    assert splitter.leave(gone)
    assert not splitter.leave(gone)
    assert len(splitter) == 1


def test_a_part_that_was_cut_by_a_lower_limit_runs_in_order() -> None:
    splitter: Splitter[Numbered] = Splitter()
    splitter.raised(Part([Numbered(number) for number in range(8)]))
    taken = splitter.next(0.0, 2).part
    assert taken is not None
    assert [item.number for item in taken.items] == [0, 1]


def test_items_set_apart_run_alone_and_first() -> None:
    splitter: Splitter[Numbered] = Splitter()
    splitter.raised(Part([Numbered(1), Numbered(2)]))
    splitter.set_apart([Numbered(3), Numbered(4)])
    for number in (3, 4):
        taken = splitter.next(0.0, 8).part
        assert taken is not None
        assert [item.number for item in taken.items] == [number]


def test_what_the_next_worker_would_be_too_late_for_is_dropped() -> None:
    splitter: Splitter[Numbered] = Splitter()
    urgent, patient, undated = Numbered(1, deadline=1.0), Numbered(2, deadline=9.0), Numbered(3)
    splitter.raised(Part([urgent, patient, undated]))
    assert splitter.drop_hopeless(2.0, patience_s=1.5) == [urgent, undated]
    assert splitter.drop_expired(9.0) == [patient]
    assert len(splitter) == 0
