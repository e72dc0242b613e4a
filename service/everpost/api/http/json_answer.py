"""JSON answers, encoded once and sent without further layers."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import msgspec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from everpost.views.request_counts import AnsweredRequests

JSON = "application/json"
BEGAN = "began_s"  # in the state of a request's scope: when its head was read, by `perf_counter`
_encode = msgspec.json.Encoder().encode


class JsonAnswer(ASGIResponse):
    """An HTTP answer with a JSON body.

    Handlers return it because Litestar's own `Response` costs several times as much on every request.
    """

    __slots__ = ("_raw_headers",)

    def __init__(
        self, content: Any, status: int = 200, *, media_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        """`content` is a Struct, builtins, or bytes that are already encoded."""
        self.body = content if type(content) is bytes else _encode(content)
        self.status_code = int(status)
        self._raw_headers = [
            (b"content-type", media_type.encode("latin-1")),
            (b"content-length", b"%d" % len(self.body)),
        ]
        for name, value in (headers or {}).items():
            self.add_header(name, value)

    def add_header(self, name: str, value: str) -> None:
        """Add a header."""
        self._raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer and count it."""
        del receive
        count_answer(scope, self.status_code)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class BareAnswer(JsonAnswer):
    """An answer without a body, such as 204."""

    __slots__ = ()

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.body = b""
        self.status_code = status
        self._raw_headers = []
        for name, value in headers.items():
            self.add_header(name, value)


def count_answer(scope: Scope, status: int) -> None:
    """Count an answer whose head is about to be sent."""
    requests: AnsweredRequests = scope["litestar_app"].state["answered"]
    answered = requests[str(scope.get("method", "")), scope.get("path_template", ""), status]
    answered.count += 1
    began_s = scope.get("state", {}).get(BEGAN)
    if began_s is not None:  # it came past DirectRoutes, as all do that are served over HTTP
        answered.add(perf_counter() - began_s)
