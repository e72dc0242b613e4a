"""HEAD, wherever there is a GET: the same answer without its body (RFC 9110, 9.3.2)."""

from collections.abc import MutableMapping
from typing import Any, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send


def answer_head_as_get(app: ASGIApp) -> ASGIApp:
    """The application, which answers a HEAD as it would the GET, and sends no body."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**cast("MutableMapping[str, Any]", scope), "method": "GET"}  # the server goes by its own scope
        await app(cast("Scope", as_get), receive, send_head)

    return answer
