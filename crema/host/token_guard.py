"""The cluster's token on an HTTP route: for the inner doors that listen beyond loopback. Channels ask for it themselves."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from crema.errors import CremaError
from crema.host.http_answer import Answer
from crema.host.http_request import Request
from crema.host.service import Route


def with_token(route: Route, token: Callable[[], str | None]) -> Route:
    """The route, open to who shows the token as `Authorization: Bearer …`; to everybody while `token()` is None."""
    handler = route.handler

    def handle(request: Request) -> Awaitable[Answer]:
        wanted = token()
        if wanted is not None:
            shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(shown, f"Bearer {wanted}".encode()):
                raise CremaError(
                    "unauthenticated",
                    "send the cluster's token as `Authorization: Bearer …`, or call the public API with an API key",
                )
        return handler(request)

    return Route(route.method, route.path, handle, route.scope)
