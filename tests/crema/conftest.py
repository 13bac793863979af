"""Fixtures of tests that speak to a worker in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crema.worker_host import Host, hosts_closed, modules_forgotten


@pytest.fixture(autouse=True)
def _one_model_per_test() -> Iterator[None]:
    with modules_forgotten("model"):
        yield


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with hosts_closed() as started:
        yield started
