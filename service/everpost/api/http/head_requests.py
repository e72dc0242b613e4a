"""HEAD for every GET: the same answer without its body (RFC 9110, 9.3.2)."""

from collections.abc import Awaitable, MutableMapping
from typing import Any, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

IS_HEAD = "is_head"  # in the state of a request's scope, if only the head of its answer is wanted


def answer_head_as_get(app: ASGIApp) -> ASGIApp:
    """The application, extended to answer a HEAD like the GET, without a body."""

    async def answer_head(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["state"][IS_HEAD] = True
        as_get = {**cast("MutableMapping[str, Any]", scope), "method": "GET"}  # the server keeps its own, with HEAD
        await app(cast("Scope", as_get), receive, send_head)

    def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (answer_head if scope.get("method") == "HEAD" else app)(scope, receive, send)

    return answer
