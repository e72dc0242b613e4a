"""Serves some routes without Litestar, whose way to a handler costs as much as accepting a task."""

import re
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Receive, Scope, Send

from everpost.api.http.json_answer import BEGAN
from everpost.api.http.problems import answer_error

PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\[\]_-]+")
PLAIN_VALUE = re.compile(r"[0-9A-Za-z_-]+")


class DirectRoutes:
    """The application, except that requests to some POST routes go straight to their handlers.

    Such a handler takes the request and, if its path has one parameter, the text after the last slash. It returns an
    ASGI answer. The checks before each request and the error answers are those of all routes. Litestar still serves a
    request with a query, an odd Host or an odd parameter.

    Args:
        app: The application; its handlers at `paths` (templates as Litestar shows them) are served directly.
    """

    def __init__(self, app: Litestar, paths: Iterable[str]) -> None:
        self._app = app
        self._routes = {_key_of(path): (path, _handler_of(app, path), _parameter_of(path)) for path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        scope["state"][BEGAN] = perf_counter()
        path = scope["path"]
        values: Sequence[str] = ()
        found = self._routes.get((path, False))
        if found is None:
            start, _, value = path.rpartition("/")
            found, values = self._routes.get((start, True)), (value,)
        if found is None or not _is_plain(scope, values):
            await self._app(scope, receive, send)
            return
        scope["litestar_app"] = self._app
        scope["path_template"], scope["route_handler"], name = found
        if name:
            scope["path_params"] = {name: values[0]}
        answer = await _answer(found[1], DirectRequest(scope, receive, send), values)
        await answer(scope, receive, send)


class DirectRequest(Request[Any, Any, Any]):
    """A request that prepares what Litestar's has besides its scope only when it is asked for: handlers seldom do."""

    __slots__ = ("_is_prepared",)

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self._is_prepared = False

    def __getattr__(self, name: str) -> Any:
        """Called for what the request does not have yet, or never has."""
        if self._is_prepared:
            raise AttributeError(name)
        self._is_prepared = True
        super().__init__(self.scope, self.receive, self.send)
        return getattr(self, name)


def _key_of(template: str) -> tuple[str, bool]:
    """The part of the path before the parameter, and whether there is a parameter."""
    start, brace, _ = template.partition("/{")
    return start, bool(brace)


def _parameter_of(template: str) -> str:
    """The name of the parameter; empty if the path has no parameter."""
    return template.partition("/{")[2].rstrip("}").partition(":")[0]


def _handler_of(app: Litestar, template: str) -> HTTPRouteHandler:
    routes = {route.path_format: route for route in app.routes if isinstance(route, HTTPRoute)}
    handler, _ = routes[template].route_handler_map["POST"]
    return handler


def _is_plain(scope: Scope, values: Sequence[str]) -> bool:
    if scope.get("method") != "POST" or scope["query_string"]:
        return False
    if values and PLAIN_VALUE.fullmatch(values[0]) is None:
        return False
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return all(map(PLAIN_HOST.fullmatch, hosts))


async def _answer(handler: HTTPRouteHandler, request: Request[Any, Any, Any], values: Sequence[str]) -> Any:
    try:
        if (check := handler.resolve_before_request()) is not None:
            await check(request)
        return await handler.fn(request, *values)
    except Exception as error:  # noqa: BLE001 - it becomes an error answer, as on all routes
        return answer_error(request, error)
