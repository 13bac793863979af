"""Cores that threads share: whoever comes first, in slices, and a wake-up costs once."""

from __future__ import annotations

from functools import partial

import pytest

from loadtest.simulator.agenda import Agenda
from loadtest.simulator.cores import SLICE_S, Cores, Thread, Work


class Log:
    """When what was done."""

    def __init__(self, cores: int) -> None:
        self.agenda = Agenda()
        self.cores = Cores(cores)
        self.ended: dict[str, float] = {}

    def thread(self, message_s: float = 0.001, wake_s: float = 0.0) -> Thread:
        return Thread(self.agenda, self.cores, Work(message_s, wake_s))

    def note(self, what: str) -> None:
        assert what not in self.ended
        self.ended[what] = pytest.approx(self.agenda.now)


def test_a_thread_does_one_thing_after_the_other() -> None:
    log = Log(cores=2)
    thread = log.thread()
    for what in "ab":
        thread.do(log.note, what)
    log.agenda.run()
    assert log.ended == {"a": 0.001, "b": 0.002}


def test_a_thread_that_wakes_up_pays_for_it_and_one_that_is_awake_does_not() -> None:
    log = Log(cores=1)
    thread = log.thread(wake_s=0.0005)
    for what in "ab":
        thread.do(log.note, what)
    log.agenda.at(0.01, thread.do, log.note, "c")
    log.agenda.run()
    assert log.ended == {"a": 0.0015, "b": 0.0025, "c": 0.0115}


def test_what_more_threads_want_than_there_are_cores_waits_in_its_order() -> None:
    log = Log(cores=2)
    for what in "abcde":
        log.thread().do(log.note, what)
    log.agenda.run()
    assert log.ended == {"a": 0.001, "b": 0.001, "c": 0.002, "d": 0.002, "e": 0.003}


def test_whoever_has_much_to_do_lets_others_have_the_core_after_a_slice() -> None:
    log = Log(cores=1)
    log.thread().work(2.5 * SLICE_S, log.note, "long")
    log.thread().work(0.001, log.note, "short")
    log.agenda.run()
    assert log.ended == {"short": SLICE_S + 0.001, "long": 2.5 * SLICE_S + 0.001}


def test_alone_one_keeps_its_core() -> None:
    log = Log(cores=1)
    log.thread().work(10 * SLICE_S, log.note, "long")
    log.agenda.run()
    assert log.ended == {"long": 10 * SLICE_S}


def test_many_messages_at_once_cost_as_many_times() -> None:
    log = Log(cores=1)
    log.thread(wake_s=0.0005).do_all(8, log.note, "a batch")
    log.agenda.run()
    assert log.ended == {"a batch": 0.0085}


def test_no_work_is_lost_and_no_core_used_twice() -> None:
    log = Log(cores=2)
    threads = [log.thread(wake_s=0.0002) for _ in range(5)]
    for index in range(200):
        log.agenda.at(index * 0.0003, partial(threads[index % 5].do, log.note, str(index)))
    log.agenda.run()
    assert len(log.ended) == 200
    # 200 messages of 1 ms on two cores, and at most as many wake-ups
    assert 0.1 <= log.agenda.now <= 0.125
