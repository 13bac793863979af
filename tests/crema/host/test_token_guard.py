"""An inner door beyond loopback asks for the cluster's token."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from crema.host.http_responses import json_response
from crema.host.service import Route, Service
from crema.host.token_guard import with_token


@pytest.mark.parametrize(
    ("token", "shown", "status"),
    [
        (None, None, 200),
        ("secret", None, 401),
        ("secret", "Bearer wrong", 401),
        ("secret", "secret", 401),
        ("secret", "Bearer s\xe9cret", 401),
        ("secret", "Bearer secret", 200),
    ],
)
async def test_the_token_opens_the_door(token: str | None, shown: str | None, status: int) -> None:
    async def handler(request: Any) -> Any:
        return json_response({})

    service = Service([with_token(Route("POST", "/v1/infer", handler), lambda: token)])
    port = await service.start("127.0.0.1", 0)
    try:
        headers = {} if shown is None else {"Authorization": shown}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/v1/infer", headers=headers) as answer,
        ):
            assert answer.status == status
    finally:
        await service.close(0)
