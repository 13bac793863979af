"""The page of `crema diff`: whole in one file, and safe whatever photos are called and models say."""

from __future__ import annotations

from html.parser import HTMLParser

from check.difference_page import Case, page


class Seen(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def seen(text: str) -> Seen:
    parser = Seen()
    parser.feed(text)
    return parser


def test_a_photo_stands_in_the_page_itself() -> None:
    found = seen(page("a@1.0", "a@1.1", [], [Case("x.jpg", b"\x89PNG", 0.5, "w", "b", "c")]))
    assert found.addresses == ["data:image/png;base64,iVBORw=="]


def test_names_and_answers_are_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>\"'&"
    found = seen(page(evil, evil, [evil], [Case(evil, b"", 0.5, evil, evil, evil)]))
    assert "script" not in found.tags
    assert found.addresses == []


def test_nothing_may_be_loaded_from_anywhere() -> None:
    assert "default-src 'none'; img-src data:" in page("a", "b", [], [])


def test_versions_without_a_difference_say_so() -> None:
    assert "No answer changed." in page("a", "b", [], [])
