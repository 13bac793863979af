"""The grammar of URLs that are asked for, the list of hosts, and where a redirect may lead."""

from __future__ import annotations

import pytest

from crema.host.fetch_hosts import parse_host_rule
from preprocessor.fetch_target import FetchTarget, TargetRefused, parse_target
from tests.preprocessor.loopback_spellings import OTHER_SCHEMES

ANY = [parse_host_rule("*")]


def refusal(text: str, *rules: str) -> str:
    with pytest.raises(TargetRefused) as caught:
        parse_target(text, [parse_host_rule(rule) for rule in rules or ("*",)])
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "asked_for"),
    [
        ("http://example.com", "http://example.com/"),
        ("https://Example.COM/A.jpg", "https://example.com/A.jpg"),
        ("HTTPS://example.com:443/a", "https://example.com/a"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("http://example.com/a?b=c%2Fd&e=f+g#part", "http://example.com/a?b=c%2Fd&e=f+g"),
        ("http://example.com/a?b?c/d", "http://example.com/a?b?c/d"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com/a//b/./../c@d:e", "http://example.com/a//b/./../c@d:e"),
        ("http://xn--bcher-kva.example/a", "http://xn--bcher-kva.example/a"),
        ("http://[2606:4700::1111]/a", "http://[2606:4700::1111]/a"),
        ("http://[2606:4700:0:0::1111]/a", "http://[2606:4700::1111]/a"),
        ("http://a_b.example.com/", "http://a_b.example.com/"),
    ],
)
def test_what_is_asked_for_is_what_was_written(text: str, asked_for: str) -> None:
    url = parse_target(text, ANY).url
    assert str(url) == asked_for
    assert url.raw_host == parse_target(text, ANY).host


@pytest.mark.parametrize(
    "text",
    [
        *OTHER_SCHEMES,
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http:\\\\example.com/",
        "http://example.com /",
        "http://example.com/a b",
        "http://example.com/\u00e9",
        "http://b\u00fccher.example/",
        "http://127。0。0。1/",
        "http://example.com:/",
        "http://example.com:x/",
        "http://example.com:80:80/",
        "http://[127.0.0.1]/",
        "http://[::1%25lo]/",
        "http://[::g]/",
        "http://::1/",
        "http://exa%6dple.com/",
        "http://example.com/\r\nHost: a",
        "http://example.com/" + "a" * 8192,
        "http:example.com/",
        "http:///example.com/",
        "//example.com/",
    ],
)
def test_what_the_grammar_does_not_know_is_refused(text: str) -> None:
    assert refusal(text) == "refused_url"


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("example.com", "http://example.com/", "http://www.example.com/"),
        ("example.com", "https://EXAMPLE.com/", "https://example.com.evil.org/"),
        ("example.com", "http://example.com:443/", "http://example.com:8080/"),
        ("example.com:9000", "http://example.com:9000/", "http://example.com/"),
        ("*", "https://anything.example/", "https://anything.example:22/"),
        ("*:9000", "http://anything.example:9000/", "http://anything.example/"),
        ("[fd00::5]:9000", "http://[fd00:0::5]:9000/", "http://[fd00::6]:9000/"),
        ("example.com", "http://example.com/", "http://example.com./"),
        ("example.com", "http://example.com/", "http://example.com:0/"),
        ("example.com", "http://example.com/", "http://example.com:65616/"),  # 80 + 2**16
    ],
)
def test_a_host_is_on_the_list_exactly_or_not(rule: str, allowed: str, refused: str) -> None:
    assert parse_target(allowed, [parse_host_rule(rule)]).host
    assert refusal(refused, rule) == "refused_host"


HERE = FetchTarget("https", "example.com", 443, "/a/b", "q=1")


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("https://example.com/c", "https://example.com/c"),
        ("/c?d", "https://example.com/c?d"),
        ("c", "https://example.com/a/c"),
        ("../c", "https://example.com/c"),
        ("//example.com/c", "https://example.com/c"),
        ("?x", "https://example.com/a/b?x"),
    ],
)
def test_a_redirect_leads_where_it_says(location: str, leads_to: str) -> None:
    assert str(HERE.after(location, ANY).url) == leads_to


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/c",
        "ftp://example.com/",
        "file:///etc/passwd",
        "",
        "\\\\example.com",
        "https://a@b.example/",
    ],
)
def test_a_redirect_does_not_lead_out_of_https_or_out_of_the_grammar(location: str) -> None:
    with pytest.raises(TargetRefused):
        HERE.after(location, ANY)


def test_a_redirect_leads_to_no_host_off_the_list() -> None:
    with pytest.raises(TargetRefused) as caught:
        HERE.after("https://example.org/", [parse_host_rule("example.com")])
    assert (caught.value.reason, caught.value.host) == ("refused_host", "example.org")
