"""Virtual time: what is due happens in order, and only then."""

from __future__ import annotations

from loadtest.virtual_time import VirtualTime


def test_what_is_due_happens_in_the_order_of_time() -> None:
    time, seen = VirtualTime(), list[tuple[str, float]]()
    time.at(2.0, lambda: seen.append(("later", time.now)))
    time.at(1.0, lambda: seen.append(("sooner", time.now)))
    time.run()
    assert seen == [("sooner", 1.0), ("later", 2.0)]


def test_at_the_same_moment_first_asked_is_first_done() -> None:
    time, seen = VirtualTime(), list[int]()
    for number in range(5):
        time.at(1.0, lambda number=number: seen.append(number))  # type: ignore[misc]
    time.run()
    assert seen == [0, 1, 2, 3, 4]


def test_what_happens_may_ask_for_more() -> None:
    time, seen = VirtualTime(), list[float]()

    def again() -> None:
        seen.append(time.now)
        if len(seen) < 3:
            time.at(time.now + 0.5, again)

    time.at(1.0, again)
    time.run()
    assert seen == [1.0, 1.5, 2.0]


def test_a_cancelled_timer_does_not_happen() -> None:
    time, seen = VirtualTime(), list[str]()
    time.at(1.0, lambda: seen.append("no")).cancel()
    time.run()
    assert seen == []


def test_a_moment_that_has_passed_means_now() -> None:
    time, seen = VirtualTime(), list[float]()
    time.at(5.0, lambda: time.at(1.0, lambda: seen.append(time.now)))
    time.run()
    assert seen == [5.0]


def test_a_run_ends_where_it_is_told_to_and_can_go_on() -> None:
    time, seen = VirtualTime(), list[float]()
    for when in (1.0, 2.0, 3.0):
        time.at(when, lambda: seen.append(time.now))
    time.run(until=2.5)
    assert (seen, time.now) == ([1.0, 2.0], 2.5)
    time.run()
    assert seen == [1.0, 2.0, 3.0]
