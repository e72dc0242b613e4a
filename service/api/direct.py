"""One route served past Litestar, which costs as much on its way to a handler as accepting a task does."""

import re
from typing import Any

from litestar import Litestar, Request
from litestar.routes import HTTPRoute
from litestar.types import Method, Receive, Scope, Send

from service.api.problems import answer_error

PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\[\]_-]+")


class DirectRoute:
    """The application, with the requests to one route handed to its handler straight away.

    The handler takes the request and nothing else, and returns an ASGI answer. The checks before each request and the
    answers to errors are those of every route; a request with a query or an odd Host is Litestar's to judge.

    Args:
        app: Its handler of `method` at `path` is the one.
    """

    def __init__(self, app: Litestar, method: Method, path: str) -> None:
        self._app = app
        self._method = method
        self._path = path
        route = next(route for route in app.routes if isinstance(route, HTTPRoute) and route.path == path)
        self._handler, _ = route.route_handler_map[method]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if not self._is_plain(scope):
            await self._app(scope, receive, send)
            return
        scope["litestar_app"] = self._app
        scope["route_handler"] = self._handler
        scope["path_template"] = self._path
        answer = await self._answer(Request(scope, receive, send))
        await answer(scope, receive, send)

    def _is_plain(self, scope: Scope) -> bool:
        if scope["path"] != self._path or scope.get("method") != self._method or scope["query_string"]:
            return False
        return all(PLAIN_HOST.fullmatch(value) for name, value in scope["headers"] if name == b"host")

    async def _answer(self, request: Request[Any, Any, Any]) -> Any:
        try:
            if (check := self._handler.resolve_before_request()) is not None:
                await check(request)
            return await self._handler.fn(request)
        except Exception as error:  # noqa: BLE001 - it becomes the answer, as everywhere
            return answer_error(request, error)
