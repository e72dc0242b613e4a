"""The bearer token, where one is set."""

import hmac

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import AsyncAnyCallable

from service.errors import Unauthorized

PUBLIC = "is_public"
"""The `opt` of a route that asks for no token."""


def token_guard(token: str) -> AsyncAnyCallable:
    """A guard that lets only requests with the token through.

    Raises:
        Unauthorized: The token is missing or wrong.
    """
    expected = b"Bearer " + token.encode()

    async def require_token(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
        if handler.opt.get(PUBLIC):
            return
        given = next((value for name, value in connection.scope["headers"] if name == b"authorization"), b"")
        scheme, _, credentials = given.partition(b" ")
        if not hmac.compare_digest(scheme.title() + b" " + credentials.strip(), expected):
            raise Unauthorized

    return require_token
