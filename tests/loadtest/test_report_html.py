"""The report as a page: it holds all it shows, runs nothing, asks nobody, and believes no text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.plot import Line, Mark, bars, plot, ticks
from loadtest.report import build
from loadtest.report_html import page
from tests.loadtest.load_runs import load_run

REPORT = build(load_run(), price_per_hour=0.9, began="2026-05-04T10:00:00+00:00")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._in_style = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attributes]
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data + " "


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_the_page_refers_to_nothing_outside() -> None:
    html = page(REPORT)
    reader = read(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(reader.tags)
    assert not {"src", "href", "xlink:href", "srcset", "action", "background"} & {
        n for n, _ in reader.attributes
    }
    assert not re.search(r"url\(|@import|javascript:", html)


def test_the_page_forbids_the_browser_to_load_or_run_anything() -> None:
    policies = [value for name, value in read(page(REPORT)).attributes if name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies


def test_everything_stands_in_the_page_itself_so_that_it_shows_with_scripts_off() -> None:
    reader = read(page(REPORT, ["p99>500ms: it is 900 ms"]))
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    for said in (
        "Missed: p99>500ms: it is 900 ms",
        "100/s",
        "captions@3.1",
        "model_failed 50",
        "deadline_exceeded",
        "2x",
    ):
        assert said in reader.text
    assert reader.tags.count("svg") == 7


def test_every_plot_is_sound_xml() -> None:
    for svg in re.findall(r"<svg.*?</svg>", page(REPORT), re.DOTALL):
        ElementTree.fromstring(svg)


def test_names_from_outside_are_only_text() -> None:
    evil = "<script>alert(1)</script>\"'&"
    report: dict[str, Any] = {
        **REPORT,
        "url": evil,
        "notes": [evil],
        "phases": [{**phase, "name": evil} for phase in REPORT["phases"]],
        "models": [{**model, "model": evil, "codes": {evil: 1}} for model in REPORT["models"]],
        "total": {**REPORT["total"], "codes": {evil: 3}},
    }
    html = page(report, [evil])
    assert "<script" not in html
    assert "script" not in read(html).tags
    assert evil in read(html).text


def test_a_report_of_nothing_makes_a_page_all_the_same() -> None:
    from loadtest.tally import Tally

    run = load_run()
    assert "</html>" in page(build(load_run(tallies=[Tally(run.scenario.slo_s) for _ in run.tallies])))


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 430, [0, 100, 200, 300, 400]),
        (105, 430, [200, 300, 400]),
        (0, 0, [0]),
    ],
)
def test_axes_have_round_numbers(least: float, most: float, expected: list[float]) -> None:
    assert ticks(least, most) == expected


def test_a_gap_breaks_the_line() -> None:
    svg = plot("t", "x", "y", [Line("a", "ok", [(0, 1.0), (1, None), (2, 3.0)])])
    path = re.search(r'<path class="ok" d="([^"]*)"', svg)
    assert path is not None and path[1].count("M") == 2


def test_plots_of_nothing_of_one_point_and_of_zeros_are_drawn() -> None:
    for points in ([], [(1.0, 0.0)], [(0.0, 0.0), (1.0, 0.0)]):
        for is_log in (False, True):
            svg = plot("t", "x", "y", [Line("a", "ok", points)], [Mark("m", y=5.0)], is_log=is_log)
            assert "nan" not in svg and "inf" not in svg
    assert "<rect" not in bars("t", "x", "y", [], "ok")
