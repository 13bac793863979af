"""The agenda of a simulation."""

from __future__ import annotations

from loadtest.simulator.agenda import Agenda


def test_what_is_due_happens_in_time_and_of_one_moment_in_the_order_of_entry() -> None:
    agenda, seen = Agenda(), []
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        agenda.at(when, seen.append, name)
    agenda.run()
    assert (seen, agenda.now, agenda.events) == (["a", "b", "c"], 2.0, 3)


def test_it_stops_where_it_is_told_to_and_goes_on_from_there() -> None:
    agenda, seen = Agenda(), []
    agenda.at(1.0, seen.append, 1)
    agenda.at(3.0, seen.append, 3)
    agenda.run(until=2.0)
    assert (seen, agenda.now) == ([1], 2.0)
    agenda.run()
    assert seen == [1, 3]


def test_seconds_of_the_day_pass_as_quickly_as_the_lapse_says() -> None:
    agenda = Agenda(lapse=40)
    agenda.run(until=2.0)
    assert agenda.day_s == 80.0
