"""Ports: a busy one is refused with the way out, before anything is started."""

from __future__ import annotations

import socket

import pytest

from crema.host.config import Address
from deploy.ports import PortTaken, check_free


async def test_a_port_that_is_listened_on_is_refused_with_the_next_step() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=r"coordinator\.listen in the cluster file") as refused:
            await check_free(Address("127.0.0.1", port), "coordinator.listen", patience_s=0)
        assert f":{port}" in str(refused.value)


async def test_a_free_port_is_accepted_and_left_free() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    await check_free(Address("127.0.0.1", port), "coordinator.listen", patience_s=0)
    await check_free(Address("127.0.0.1", port), "coordinator.listen", patience_s=0)


async def test_a_free_choice_needs_no_check() -> None:
    await check_free(Address("192.0.2.1", 0), "coordinator.listen", patience_s=0)


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1:8000"):
        await check_free(Address("192.0.2.1", 8000), "coordinator.listen", patience_s=0)
