"""A batch that lay at the worker while another ran: what of it need not run any more is left out."""

from __future__ import annotations

import time

from tests.crema.worker_host import Host, start

SLOW, GUILTY = 248, 255
"""What makes the chaos toy take 0.3 s, time enough to send what comes next, and what makes it raise."""


def test_an_item_whose_deadline_passed_while_its_batch_lay_there_does_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(SLOW)
    soon = time.monotonic() + 0.1
    host.send(1, 2, 3, batch=2, until=[None, soon, soon + 60])
    host.answer()
    header, outcomes = host.answer()
    assert header["skipped"] == [1]
    assert outcomes == [{"ok": 1}, {"ok": 3}]


def test_a_batch_of_which_nothing_is_left_does_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    past = time.monotonic() - 1
    host.send(SLOW, SLOW, until=[past, past])
    header, outcomes = host.answer()
    assert (header["skipped"], outcomes) == ([0, 1], [])
    assert header["seconds"] < 0.3


def test_items_whose_callers_left_while_their_batch_lay_there_do_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(SLOW)
    host.send(1, 2, 3, batch=2, until=[None] * 3)
    host.skip(2, 0)
    host.skip(2, 2)
    host.send(4, batch=3, until=[None])
    host.answer()
    header, outcomes = host.answer()
    assert (header["skipped"], outcomes) == ([0, 2], [{"ok": 2}])
    assert host.answer()[1] == [{"ok": 4}]


def test_params_stay_with_their_items_when_others_are_left_out(hosts: list[Host]) -> None:
    host = start(hosts, "parrot")
    host.send(1, 2, 3, params=[{"words": 1}, {"words": 2}, {"words": 3}], until=[0.0, None, None])
    words = [outcome["ok"]["params"]["words"] for outcome in host.answer()[1]]
    assert words == [2, 3]


def test_a_skip_that_comes_too_late_changes_nothing(hosts: list[Host]) -> None:
    host = start(hosts)
    host.run(1)
    host.skip(1, 0)
    assert host.run(2)[1] == [{"ok": 2}]


def test_a_batch_that_raises_says_which_items_were_not_in_it(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(7, GUILTY, until=[0.0, None])
    header, _ = host.answer()
    assert header["skipped"] == [0]
    assert "told to raise" in header["error"]["message"]
