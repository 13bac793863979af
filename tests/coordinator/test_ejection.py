"""Who is ejected, and how one comes back: from answers alone, in times given as arguments."""

from __future__ import annotations

import math
import random

import pytest

from coordinator.ejection import FIRST_S, Ejection
from coordinator.replica import Replica


class Some:
    """Replicas that answer when they are told to."""

    def __init__(self, count: int) -> None:
        self.replicas = [Replica(f"r{n}:1") for n in range(count)]
        for each in self.replicas:
            each.opened(-100.0)
        self.ejection = Ejection(lambda: 0.5)

    @property
    def ejected(self) -> list[int]:
        return [index for index, each in enumerate(self.replicas) if each.is_ejected]

    def answer(self, index: int, now: float, service_ms: float, size: int = 1) -> None:
        replica = self.replicas[index]
        sent_at = now - service_ms / 1000
        replica.sent(sent_at)
        self.ejection.answered(self.replicas, replica, now, sent_at, service_ms, size)
        replica.answered(now, None, None, service_ms)

    def silent(self, index: int, sent_at: float, now: float) -> bool:
        return self.ejection.silent(self.replicas, self.replicas[index], now, sent_at)

    def fail(self, index: int, now: float) -> None:
        self.ejection.failed(self.replicas, self.replicas[index], now, now)


def with_one_slow(count: int, times: float) -> Some:
    """The first is that many times slower; until it is ejected, or for 100 answers of each."""
    some = Some(count)
    for step in range(100):
        for index in range(count):
            some.answer(index, step * 0.1, 20.0 * (times if index == 0 else 1))
        if some.ejected:
            break
    return some


def test_one_that_is_ten_times_slower_is_ejected_after_a_few_answers() -> None:
    some = Some(2)
    for step in range(20):
        for index in range(2):
            some.answer(index, step * 0.1, 20.0)
    answers = 0
    while not some.ejected:
        answers += 1
        some.answer(1, 2 + answers * 0.1, 20.0)
        some.answer(0, 2 + answers * 0.1, 200.0)
    assert some.ejected == [0]
    assert answers <= 5


def test_one_that_was_slow_from_the_start_is_ejected_too() -> None:
    assert with_one_slow(2, 10).ejected == [0]
    assert with_one_slow(8, 10).ejected == [0]


def test_one_at_half_speed_stays() -> None:
    assert with_one_slow(2, 2).ejected == []
    assert with_one_slow(8, 2).ejected == []


def test_a_difference_that_no_caller_would_notice_ejects_nobody() -> None:
    some = Some(2)
    for step in range(50):
        some.answer(0, step * 0.1, 5.0)
        some.answer(1, step * 0.1, 0.5)
    assert some.ejected == []


def test_large_batches_are_compared_with_large_batches() -> None:
    some = Some(2)
    for step in range(100):
        some.answer(0, step * 0.1, 20.0 + 5 * 32, size=32)
        some.answer(1, step * 0.1, 25.0, size=1)
    assert some.ejected == []


def test_equal_replicas_whose_times_scatter_are_left_in_peace() -> None:
    some, chance = Some(8), random.Random(3)
    for step in range(20_000):
        some.answer(step % 8, step * 0.01, 30 * math.exp(chance.gauss(0, 0.5)))
        assert not some.ejected


def test_when_all_become_slow_together_nobody_is_ejected() -> None:
    some = Some(4)
    for step in range(200):
        for index in range(4):
            some.answer(index, step * 0.1, 20.0 if step < 100 else 400.0)
    assert some.ejected == []


def test_never_more_than_half_are_ejected() -> None:
    for count, most in ((1, 0), (2, 1), (3, 1), (4, 2), (8, 4)):
        some = Some(count)
        for now in range(10):
            for index in range(count):
                some.fail(index, float(now))
        assert len(some.ejected) == most


def test_three_failures_one_after_the_other_eject_and_an_answer_between_them_forgives() -> None:
    some = Some(2)
    for now in (1.0, 2.0):
        some.fail(0, now)
    some.answer(0, 2.5, 20.0)
    for now in (3.0, 4.0):
        some.fail(0, now)
    assert some.ejected == []
    some.fail(0, 5.0)
    assert some.ejected == [0]


def test_all_that_is_lost_with_one_connection_is_one_failure() -> None:
    some = Some(2)
    for n in range(50):
        some.fail(0, 1.0 + n * 0.0001)
    assert some.ejected == []


def test_one_that_is_silent_about_all_for_half_a_second_is_ejected() -> None:
    some = Some(2)
    some.answer(0, 0.9, 20.0)
    some.silent(0, sent_at=1.0, now=1.25)
    assert some.ejected == []
    some.silent(0, sent_at=1.3, now=1.55)
    assert some.ejected == [0]


def test_one_that_answers_others_meanwhile_is_not_silent() -> None:
    some = Some(2)
    for step in range(20):
        some.answer(0, step + 0.2, 20.0)
        # two that were sent before that answer, and are still unanswered long after it
        for sent_at in (step, step + 0.1):
            some.silent(0, sent_at=sent_at, now=step + 0.9)
    assert some.ejected == []


def test_a_good_trial_restores_and_a_slow_one_ejects_for_twice_as_long() -> None:
    some = with_one_slow(2, 10)
    slow = some.replicas[0]
    until = slow.ejected_until
    slow.sent(until + 0.1)
    some.ejection.answered(some.replicas, slow, until + 0.3, until + 0.1, 200.0, 1)
    slow.answered(until + 0.3, None)
    assert slow.is_ejected
    assert slow.ejected_until == pytest.approx(until + 0.3 + 2 * FIRST_S)
    again = slow.ejected_until
    some.answer(0, again + 0.1, 20.0)
    assert not slow.is_ejected
    assert slow.weight(again + 0.1) == 0.1


def test_a_late_answer_from_before_the_ejection_is_no_trial() -> None:
    some = with_one_slow(2, 10)
    slow = some.replicas[0]
    some.ejection.answered(some.replicas, slow, slow.ejected_until + 1, 0.0, 20.0, 1)
    assert slow.is_ejected


def test_a_silent_trial_says_that_the_connection_is_to_be_made_anew() -> None:
    some = Some(2)
    some.replicas[0].eject(5.0)
    some.replicas[0].sent(5.1)
    assert some.silent(0, sent_at=5.1, now=5.4)
    assert some.replicas[0].ejected_until > 5.4


def test_a_trial_is_not_silent_while_others_of_its_answers_come() -> None:
    some = Some(2)
    replica = some.replicas[0]
    replica.sent(4.9)
    replica.eject(5.0)
    replica.sent(5.1)
    # the answer to what was asked for before the ejection
    some.ejection.answered(some.replicas, replica, 5.2, 4.9, 20.0, 1)
    replica.answered(5.2, None)
    assert not some.silent(0, sent_at=5.1, now=5.4)
    assert replica.ejected_until == 5.0


def test_a_trial_that_was_lost_ejects_again() -> None:
    some = Some(2)
    some.replicas[0].eject(5.0)
    some.replicas[0].sent(5.1)
    some.fail(0, 5.1)
    assert some.replicas[0].ejected_until > 5.1


def test_ejections_grow_to_half_a_minute_and_are_forgiven_after_a_good_minute() -> None:
    some = Some(2)
    replica, now = some.replicas[0], 0.0
    times = []
    for _ in range(6):
        for _ in range(3):
            now += 1
            some.fail(0, now)
        times.append(replica.ejected_until - now)
        now = replica.ejected_until + 0.1
        some.answer(0, now, 20.0)
    assert times == pytest.approx([2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
    now += 61
    for _ in range(3):
        now += 1
        some.fail(0, now)
    assert replica.ejected_until - now == pytest.approx(FIRST_S)
