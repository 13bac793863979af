"""Whom the minion remembers, and for how long."""

from __future__ import annotations

from minion.suspects import KEPT_S, MOST, Suspects, fingerprint

A, B = b"a" * 16, b"b" * 16


def test_one_death_makes_a_suspect_and_two_a_prisoner() -> None:
    suspects = Suspects()
    suspects.died([A, B], 0.0)
    assert suspects.is_suspect(A, 1.0)
    assert not suspects.is_quarantined(A, 1.0)
    suspects.died([A], 2.0)
    assert suspects.is_quarantined(A, 3.0)
    assert not suspects.is_quarantined(B, 3.0)


def test_the_same_content_twice_in_one_death_counts_once() -> None:
    suspects = Suspects()
    suspects.died([A, A], 0.0)
    assert not suspects.is_quarantined(A, 0.0)


def test_a_death_elsewhere_counts_once_however_many_callers_tell_of_it() -> None:
    suspects = Suspects()
    suspects.accused([A], 1, 0.0)
    suspects.accused([A], 1, 1.0)
    assert suspects.is_suspect(A, 2.0)
    assert not suspects.is_quarantined(A, 2.0)
    suspects.died([A], 3.0)
    assert suspects.is_quarantined(A, 4.0)


def test_raising_alone_never_leads_to_quarantine() -> None:
    suspects = Suspects()
    for now in range(5):
        suspects.raised(A, float(now))
    assert suspects.is_suspect(A, 5.0)
    assert not suspects.is_quarantined(A, 5.0)


def test_who_is_answered_alone_is_innocent() -> None:
    suspects = Suspects()
    suspects.died([A], 0.0)
    suspects.passed(A)
    assert not suspects
    suspects.passed(A)


def test_everything_is_forgotten_ten_minutes_after_it_last_happened() -> None:
    suspects = Suspects()
    suspects.died([A], 0.0)
    suspects.died([B], 1.0)
    suspects.died([A], 2.0)
    assert not suspects.is_suspect(B, 1.0 + KEPT_S)
    assert suspects.is_quarantined(A, 1.0 + KEPT_S)
    assert not suspects.is_quarantined(A, 2.0 + KEPT_S)
    assert not suspects


def test_a_flood_of_deaths_takes_no_memory() -> None:
    suspects = Suspects()
    for number in range(MOST + 10):
        suspects.died([number.to_bytes(16)], 0.0)
    assert len(suspects) == MOST
    assert not suspects.is_suspect((0).to_bytes(16), 0.0)


def test_a_fingerprint_stands_for_the_pixels_and_the_params() -> None:
    pixels = bytes(range(100))
    assert fingerprint(pixels, None) == fingerprint(memoryview(pixels), {})
    assert fingerprint(pixels, {"a": 1, "b": 2}) == fingerprint(pixels, {"b": 2, "a": 1})
    assert len({fingerprint(*each) for each in ((pixels, None), (pixels, {"a": 1}), (bytes(100), None))}) == 3
