"""The entries of `fetch.hosts` and `fetch.allow_private`."""

from __future__ import annotations

import pytest

from crema.host.fetch_hosts import HostRule, parse_host_rule, parse_network


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("images.example.com", HostRule("images.example.com")),
        ("Images.Example.COM", HostRule("images.example.com")),
        ("store.internal:9000", HostRule("store.internal", 9000)),
        ("*", HostRule("*")),
        ("*:9000", HostRule("*", 9000)),
        ("10.0.0.5:80", HostRule("10.0.0.5", 80)),
        ("[fd00:0::5]:9000", HostRule("fd00::5", 9000)),
        ("xn--bcher-kva.example", HostRule("xn--bcher-kva.example")),
    ],
)
def test_an_entry_is_a_host_and_perhaps_a_port(text: str, rule: HostRule) -> None:
    assert parse_host_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "http://example.com", "example.com/", "example.com:", "example.com:0", "example.com:65536", "example.com.",
     ".example.com", "*.example.com", "a b", "b\u00fccher.example", "user@example.com", "[::g]", "[127.0.0.1]", "::1"],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_host_rule(text)


def test_without_a_port_the_usual_two_are_allowed_and_no_other() -> None:
    rule = HostRule("example.com")
    assert [port for port in range(1, 65536) if rule.allows("example.com", port)] == [80, 443]
    assert not HostRule("example.com", 9000).allows("example.com", 80)


def test_a_network_is_written_exactly() -> None:
    assert str(parse_network("10.1.0.0/16")) == "10.1.0.0/16"
    assert str(parse_network("127.0.0.1")) == "127.0.0.1/32"
    with pytest.raises(ValueError, match="host bits"):
        parse_network("10.1.0.1/16")
