"""Names: allowed in Kubernetes, and never the same for two versions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.kubernetes.names import labels, version_name

NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
VERSIONS = st.tuples(st.integers(0, 999), st.integers(0, 999)).map(lambda pair: f"{pair[0]}.{pair[1]}")
SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")


def test_a_plain_name_stays_readable() -> None:
    assert version_name("tags", "3.1") == "tags-3-1"


@given(NAMES, VERSIONS)
def test_any_name_becomes_one_that_a_service_may_have(model: str, version: str) -> None:
    name = version_name(model, version)
    assert SERVICE.match(name)
    assert len(name) <= 50


@given(NAMES, VERSIONS, NAMES, VERSIONS)
def test_two_versions_never_share_a_name(model: str, version: str, other: str, another: str) -> None:
    assert (version_name(model, version) == version_name(other, another)) == (
        (model, version) == (other, another)
    )


@pytest.mark.parametrize(
    ("model", "other"), [("a.b", "a-b"), ("a_b", "a-b"), ("a--b", "a-b"), ("a.b", "a_b")]
)
def test_names_that_look_alike_are_kept_apart(model: str, other: str) -> None:
    assert version_name(model, "1.0") != version_name(other, "1.0")


def test_a_name_that_no_label_can_have_is_left_out_of_the_labels() -> None:
    assert "model" not in labels("minion", "m-x-1-0", model="x-")
    assert labels("minion", "x-1-0", model="x")["model"] == "x"
