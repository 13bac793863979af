"""The file of API keys: 0600, whole or not at all, no secret in it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crema.host.key_file import KeyFile, KeyFileError, is_private, read_keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "state" / "keys.json")


def test_a_new_key_is_found_by_its_text_and_by_no_other(file: KeyFile) -> None:
    key, text = file.new("app", ["infer"], NOW)
    keys = file.read()
    assert keys.find(text) == key
    for other in (text[:-1], text + "x", text[:18] + "_" + "A" * 43, "", "crema_", key.id, "ä€", "\udc80"):
        assert keys.find(other) is None


def test_a_key_has_256_random_bits_and_only_its_hash_is_kept(file: KeyFile) -> None:
    key, text = file.new("app", ["infer"], NOW)
    assert re.fullmatch(rf"crema_{key.id}_[A-Za-z0-9_-]{{43}}", text)
    written = file.path.read_text()
    assert text not in written
    assert text[19:] not in written
    assert key.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_file_is_for_its_owner_alone(file: KeyFile) -> None:
    file.new("app", ["infer"], NOW)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_file_that_others_may_touch_is_refused_with_the_way_out(file: KeyFile, mode: int) -> None:
    file.new("app", ["infer"], NOW)
    file.path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_keys(file.path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "keys": []}',
        '{"format": 1, "keys": [{"id": "x"}]}',
        '{"format": 1, "keys": [{"id": "x", "name": "a", "sha256": "zz", "scopes": [], "created": "2026-01-01T00:00:00Z"}]}',
        '{"format": 1, "keys": [{"id": "x", "name": "a", "sha256": "' + "0" * 64
        + '", "scopes": ["root"], "created": "2026-01-01T00:00:00Z"}]}',
        '{"format": 1, "keys": [{"id": "x", "name": "a", "sha256": "' + "0" * 64
        + '", "scopes": [], "created": "2026-01-01T00:00:00"}]}',
    ],
)  # fmt: skip
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(KeyFileError):
        read_keys(path)


def test_two_keys_of_a_name_may_be_active_and_not_three(file: KeyFile) -> None:
    first, _ = file.new("app", ["infer"], NOW)
    file.new("app", ["infer"], NOW)
    with pytest.raises(KeyFileError, match=f"crema keys revoke {first.id}"):
        file.new("app", ["infer"], NOW)
    file.new("other", ["infer"], NOW)
    file.revoke(first.id, NOW)
    file.new("app", ["infer"], NOW)


def test_an_expired_key_does_not_count_as_active(file: KeyFile) -> None:
    for _ in range(2):
        file.new("app", ["infer"], NOW, lasts=timedelta(days=1))
    later = NOW + timedelta(days=1)
    key, _ = file.new("app", ["infer"], later)
    assert file.read().active(later) == [key]


def test_a_key_ends_at_its_time_and_when_it_is_revoked(file: KeyFile) -> None:
    key, _ = file.new("app", ["infer"], NOW, lasts=timedelta(hours=1))
    assert key.state(NOW) == "active"
    assert key.state(NOW + timedelta(hours=1)) == "expired"
    assert file.revoke(key.id, NOW).state(NOW) == "revoked"
    assert file.revoke(key.id, NOW + timedelta(hours=2)).revoked == NOW


def test_revoking_what_is_not_there_says_where_to_look(file: KeyFile) -> None:
    with pytest.raises(KeyFileError, match="crema keys list"):
        file.revoke("nothing", NOW)


@pytest.mark.parametrize("name", ["", "App", "../x", "a" * 65, "a b", "a\n"])
def test_a_name_is_like_a_model_s(file: KeyFile, name: str) -> None:
    with pytest.raises(KeyFileError, match="cannot name a key"):
        file.new(name, ["infer"], NOW)


def test_changes_at_the_same_time_all_last(file: KeyFile) -> None:
    threads = [threading.Thread(target=file.new, args=(f"app-{n}", ["infer"], NOW)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read().records) == 8
    assert json.loads(file.path.read_bytes())["format"] == 1


@pytest.mark.parametrize(
    ("mode", "owner", "group", "is_fine"),
    [
        (0o600, 10001, 10001, True),
        (0o440, 0, 10001, True),
        (0o640, 0, 10001, True),
        (0o660, 0, 10001, False),
        (0o444, 0, 10001, False),
        (0o440, 0, 20002, False),
        (0o440, 10001, 10001, False),
        (0o440, 20002, 10001, False),
    ],
)
def test_what_root_lends_to_our_group_for_reading_is_private(
    mode: int, owner: int, group: int, is_fine: bool
) -> None:
    assert is_private(mode, owner, group, user=10001, groups={10001}) == is_fine


def test_root_itself_is_lent_nothing() -> None:
    assert not is_private(0o440, 0, 0, user=0, groups={0})
