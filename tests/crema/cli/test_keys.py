"""`crema keys`: a key is shown once, listed without its secret, revoked for good; each change is in the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crema.cli.main import run
from crema.host.key_file import KeyFile

STATE = Path(".crema")


@pytest.fixture(autouse=True)
def _cluster_file(_nothing_runs_here: None) -> None:
    # refused by itself: it listens beyond loopback, and has no key yet
    Path("cluster.yaml").write_text('coordinator: {listen: "0.0.0.0:8000"}\n')


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["keys", "new", "--json", *arguments]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_the_key_is_all_that_stands_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "--name", "app"]) == 0
    shown = capsys.readouterr()
    [line] = shown.out.splitlines()
    key = KeyFile(STATE / "keys.json").read().find(line)
    assert key is not None
    assert key.scopes == ("infer",)
    assert line not in shown.err


def test_options_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    found = made(
        capsys, "--name", "app", "--scopes", "bulk, infer", "--expires", "90d", "--rate", "30/m", "--concurrency", "64"
    )  # fmt: skip
    assert (found["scopes"], found["rate_per_s"], found["concurrency"]) == (["infer", "bulk"], 0.5, 64)
    assert found["expires"] > found["created"]


def test_the_list_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    found = made(capsys, "--name", "app", "--scopes", "infer,metrics")
    assert run(["keys", "list"]) == 0
    text = capsys.readouterr().out
    assert text.split() == ["ACTIVE", found["id"], "app", "infer,metrics", "for", "ever"]
    assert run(["keys", "list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["keys"]
    assert row == {name: value for name, value in found.items() if name != "key"}


def test_a_revoked_key_is_told_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    found = made(capsys, "--name", "app")
    assert run(["keys", "revoke", found["id"], "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["id"], row["state"]) == (found["id"], "revoked")


def test_a_revoked_key_stays_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    found = made(capsys, "--name", "app")
    assert run(["keys", "revoke", found["id"]]) == 0
    assert run(["keys", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["REVOKED", "REVOKED"]


def test_each_change_is_in_the_audit_once_without_its_secret(capsys: pytest.CaptureFixture[str]) -> None:
    found = made(capsys, "--name", "app")
    run(["keys", "revoke", found["id"]])
    run(["keys", "revoke", "nothing"])
    run(["keys", "list"])
    text = (STATE / "audit.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert [(each["action"], each["result"][:6]) for each in records] == [
        ("keys.new", "ok"),
        ("keys.revoke", "ok"),
        ("keys.revoke", "failed"),
    ]
    assert found["key"] not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scopes", "root"],
        ["--scopes", ""],
        ["--rate", "5"],
        ["--rate", "0/s"],
        ["--expires", "soon"],
        ["--expires", "0d"],
        ["--concurrency", "0"],
    ],
)
def test_wrong_use_is_told_and_makes_no_key(arguments: list[str]) -> None:
    assert run(["keys", "new", "--name", "app", *arguments]) == 2
    assert not (STATE / "keys.json").exists()


def test_a_wrong_name_fails_with_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "--name", "../x"]) == 1
    assert "1 to 64" in capsys.readouterr().err


def test_the_cluster_file_says_where_the_keys_are(capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.yaml").write_text("coordinator: {keys: secrets/keys.json}\n")
    assert run(["keys", "new", "--name", "app", "--cluster", "other.yaml"]) == 0
    assert Path("secrets/keys.json").is_file()
    assert run(["keys", "new", "--name", "app", "--file", "elsewhere.json"]) == 0
    assert Path("elsewhere.json").is_file()


def test_without_a_cluster_file_it_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("cluster.yaml").unlink()
    assert run(["keys", "list"]) == 2
    assert "--cluster" in capsys.readouterr().err
