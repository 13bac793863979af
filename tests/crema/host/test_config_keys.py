"""Listeners beyond loopback in a `cluster.yaml`, and the keys that they need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crema.host.config import load_cluster
from crema.host.key_file import KeyFile
from tests.crema.host.cluster_files import (
    GOOD,
    put_packages,
    refused,
    written,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_packages(tmp_path)
    return tmp_path


def test_insecure_allows_a_listener_beyond_loopback(folder: Path) -> None:
    text = GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000") + "insecure: true\n"
    assert load_cluster(written(folder, text)).coordinator.listen.host == "0.0.0.0"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:1", "localhost:80", "[::1]:8000"])
def test_loopback_listens_without_keys(folder: Path, address: str) -> None:
    config = load_cluster(written(folder, GOOD.replace("127.0.0.1:8000", address)))
    assert str(config.coordinator.listen) == address


@pytest.mark.parametrize("address", ["192.168.1.4:80", "[::]:8000", "example.com:80"])
def test_other_addresses_need_keys(folder: Path, address: str) -> None:
    assert "there is no valid API key" in refused(folder, GOOD.replace("127.0.0.1:8000", address))


def test_a_valid_key_allows_a_listener_beyond_loopback_and_an_expired_one_does_not(folder: Path) -> None:
    text = GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000")
    file = KeyFile(folder / ".crema" / "keys.json")
    file.new("old", ["infer"], datetime(2020, 1, 1, tzinfo=UTC), lasts=timedelta(days=1))
    assert "there is no valid API key" in refused(folder, text)
    file.new("app", ["infer"], datetime(2020, 1, 1, tzinfo=UTC))
    assert load_cluster(written(folder, text)).keys_file == file.path


def test_a_file_of_keys_that_is_named_must_be_there(folder: Path) -> None:
    text = GOOD.replace("processes: 1}", "processes: 1, keys: secrets/keys.json}")
    assert "coordinator.keys: there is no such file of keys" in refused(folder, text)
    KeyFile(folder / "secrets" / "keys.json").new("app", ["infer"], datetime(2020, 1, 1, tzinfo=UTC))
    load_cluster(written(folder, text))


def test_a_file_of_keys_that_others_may_read_is_a_mistake_of_the_cluster(folder: Path) -> None:
    file = KeyFile(folder / ".crema" / "keys.json")
    file.new("app", ["infer"], datetime(2020, 1, 1, tzinfo=UTC))
    file.path.chmod(0o644)
    assert "chmod 600" in refused(folder, GOOD)
