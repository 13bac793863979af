"""What stands before an image: when a decoder is free for it, and how many heavy ones may be decoded at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from crema.names import Lane
from preprocessor.cost import DecodeCost
from preprocessor.gate import Ahead
from preprocessor.queue_ahead import ahead_of, heavy_places
from preprocessor.waiting import Waiting

NOW = 100.0
HEAVY = 50.0


@dataclass(eq=False)
class One:
    work: float
    lane: Lane = "interactive"
    deadline: float | None = None
    is_quick: bool = False

    @property
    def is_heavy(self) -> bool:
        return self.work > HEAVY


@pytest.fixture
def cost() -> DecodeCost:
    """A unit of work takes 1 ms."""
    cost = DecodeCost()
    cost.ms_per_unit = 1.0
    return cost


def ahead(
    cost: DecodeCost,
    workers: int,
    running: list[tuple[float, float]],
    *waiting: One,
    lane: Lane = "interactive",
    is_heavy: bool = False,
) -> Ahead:
    """`running`: the work and how many milliseconds ago it began."""
    queue: Waiting[One] = Waiting()
    for one in waiting:
        queue.join(one)
    began = [(work, NOW - ms / 1000, work > HEAVY) for work, ms in running]
    found = ahead_of(queue, began, workers, cost, NOW, lane, is_heavy=is_heavy)
    return Ahead(found.images, round(found.wait_ms, 6), round(found.drain_ms, 6))


def test_with_a_decoder_free_nobody_waits(cost: DecodeCost) -> None:
    assert ahead(cost, 2, [(1000.0, 0.0)]) == Ahead(0, 0.0, 1000.0)


def test_the_next_image_is_decoded_by_whoever_is_free_first(cost: DecodeCost) -> None:
    assert ahead(cost, 2, [(1000.0, 0.0), (4.0, 1.0)]) == Ahead(0, 3.0, 1000.0)


def test_what_takes_longer_than_predicted_ends_at_any_moment(cost: DecodeCost) -> None:
    assert ahead(cost, 1, [(4.0, 500.0)]) == Ahead(0, 1.0, 1.0)


def test_what_waits_is_shared_out_to_those_that_are_free(cost: DecodeCost) -> None:
    waiting = [One(4.0) for _ in range(5)]
    # one decoder takes all of them, the other has 1000 ms to go
    assert ahead(cost, 2, [(1000.0, 0.0), (4.0, 0.0)], *waiting) == Ahead(5, 24.0, 1000.0)
    # one is free after 4 ms, the other joins it after 10: 10 + (20 - 6) / 2
    assert ahead(cost, 2, [(10.0, 0.0), (4.0, 0.0)], *waiting) == Ahead(5, 17.0, 17.0)


def test_bulk_waits_for_all_and_interactive_for_its_own(cost: DecodeCost) -> None:
    waiting = [One(4.0), One(8.0, "bulk")]
    assert ahead(cost, 1, [(4.0, 0.0)], *waiting) == Ahead(1, 8.0, 16.0)
    assert ahead(cost, 1, [(4.0, 0.0)], *waiting, lane="bulk") == Ahead(2, 16.0, 16.0)


def test_a_light_image_passes_heavy_ones_that_wait_for_one_another(cost: DecodeCost) -> None:
    running, waiting = [(1000.0, 0.0), (4.0, 0.0)], [One(900.0), One(4.0), One(900.0)]
    assert ahead(cost, 2, running, *waiting) == Ahead(3, 8.0, 2800.0)
    assert ahead(cost, 2, running, *waiting, is_heavy=True).wait_ms == 2800.0, "and a heavy one does not"


def test_light_images_do_not_count_on_a_decoder_that_the_next_heavy_one_takes(cost: DecodeCost) -> None:
    lights = [One(40.0) for _ in range(51)]
    found = ahead(cost, 2, [(100.0, 0.0), (4.0, 0.0)], One(900.0), *lights)
    # 2040 ms of light work: one decoder from 4 on, the other from 1000 on
    assert found.wait_ms == (4 + 1000 + 2040) / 2


def test_where_there_is_one_decoder_all_wait_for_all(cost: DecodeCost) -> None:
    assert ahead(cost, 1, [(4.0, 0.0)], One(900.0)) == Ahead(1, 904.0, 904.0)
    assert ahead(cost, 1, [(1000.0, 0.0)], One(900.0)) == Ahead(1, 1900.0, 1900.0)


def test_a_heavy_image_that_may_begin_leaves_the_other_decoders_to_those_behind_it(cost: DecodeCost) -> None:
    assert ahead(cost, 2, [(4.0, 0.0), (6.0, 0.0)], One(900.0)) == Ahead(1, 6.0, 904.0)


def test_a_heavy_image_waits_for_the_first_of_the_heavy_ones(cost: DecodeCost) -> None:
    running = [(60.0, 50.0), (1000.0, 0.0)]
    assert ahead(cost, 4, running).wait_ms == 0.0
    assert ahead(cost, 4, running, is_heavy=True) == Ahead(0, 10.0, 1000.0)
    assert ahead(cost, 6, running, is_heavy=True).wait_ms == 0.0, "three may run at once"


def test_more_may_run_than_there_are_decoders_that_stay(cost: DecodeCost) -> None:
    """One that leaves still has an image in hand."""
    assert ahead(cost, 1, [(1000.0, 0.0), (4.0, 0.0)]).wait_ms == 4.0


def test_heavy_images_get_half_of_the_decoders() -> None:
    assert [heavy_places(workers) for workers in (1, 2, 3, 8)] == [1, 1, 1, 4]
