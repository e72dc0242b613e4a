"""JSON answers, encoded once and sent without further layers."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from time import perf_counter
from typing import Any, TypeAlias

import msgspec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

JSON = "application/json"
BEGAN = "began_s"  # in the state of a request's scope: the time its head was read, by `perf_counter`
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_encode = msgspec.json.Encoder().encode


class JsonAnswer(ASGIResponse):
    """An HTTP answer with a JSON body.

    Handlers return it because Litestar's own `Response` costs several times as much on every request.
    """

    __slots__ = ("_raw_headers",)

    def __init__(
        self,
        content: Any,
        status: int = 200,
        *,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
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


class Answered:
    """The requests with the same method, route and status.

    Attributes:
        count: The number of requests.
        buckets: The number of requests by duration: one for each of `BOUNDS_S`, and one for longer ones.
        seconds: The sum of all durations.
    """

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0


AnsweredRequests: TypeAlias = defaultdict[tuple[str, str, int], Answered]
"""The requests this process has answered, for /metrics: by method, route and status."""


def count_answer(scope: Scope, status: int) -> None:
    """Count an answer whose head is about to be sent."""
    requests: AnsweredRequests = scope["litestar_app"].state["answered"]
    answered = requests[str(scope.get("method", "")), scope.get("path_template", ""), status]
    answered.count += 1
    began_s = scope.get("state", {}).get(BEGAN)
    if began_s is not None:  # set by DirectRoutes, which all requests over HTTP pass
        took_s = perf_counter() - began_s
        answered.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        answered.seconds += took_s
