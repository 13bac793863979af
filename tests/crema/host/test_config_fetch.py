"""The section `fetch` of a cluster file: off unless it says otherwise, and every mistake in it with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import ConfigError, FetchConfig, load_cluster


def read(folder: Path, text: str) -> FetchConfig:
    (folder / "model_packages").mkdir(exist_ok=True)
    path = folder / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return load_cluster(path).fetch


@pytest.mark.parametrize("text", ["", "fetch: {}", "fetch: {enabled: false, hosts: [a.example]}"])
def test_fetching_is_off_unless_it_is_switched_on(tmp_path: Path, text: str) -> None:
    assert not read(tmp_path, text).enabled


def test_a_good_section_is_kept_as_it_is_written(tmp_path: Path) -> None:
    fetch = read(
        tmp_path, 'fetch: {enabled: true, hosts: ["*", "store.internal:9000"], allow_private: [10.1.0.0/16]}'
    )
    assert (fetch.enabled, fetch.hosts, fetch.allow_private) == (
        True,
        ("*", "store.internal:9000"),
        ("10.1.0.0/16",),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "fetch: {enabled: true}",
            "cluster.yaml:1:1: fetch.hosts: must name the hosts that images are fetched from\n"
            "  try: hosts: [images.example.com]",
        ),
        (
            "fetch: {hosts: ['https://a.example/']}",
            "cluster.yaml:1:17: fetch.hosts[0]: must be a host name or HOST:PORT, without scheme or path, in ASCII "
            '(xn--… for others) (got "https://a.example/")\n  try: images.example.com, or store.internal:9000',
        ),
        (
            "fetch: {allow_private: [10.0.0.1/8]}",
            'cluster.yaml:1:25: fetch.allow_private[0]: 10.0.0.1/8 has host bits set (got "10.0.0.1/8")\n'
            "  try: 10.1.0.0/16",
        ),
        (
            "fetch: {host: 3}",
            "cluster.yaml:1:9: fetch.host: there is no such key; did you mean hosts?\n  try: hosts",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_way_out(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == told
