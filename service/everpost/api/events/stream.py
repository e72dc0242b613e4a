"""The answer that streams events to one client (Server-Sent Events, HTML Living Standard, 9.2)."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import structlog
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from everpost.access import ANONYMOUS_ADMIN
from everpost.api.events.pushed import CONNECTION, PushedAnswer
from everpost.api.http.head_requests import IS_HEAD
from everpost.api.http.json_answer import JsonAnswer, count_answer
from everpost.api.http.problems import answer_problem
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import Unavailable
from everpost.views.events.event import EventFilter
from everpost.views.events.feed import Feed

log = structlog.get_logger("everpost.events")

MEDIA_TYPE = "text/event-stream"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx passes on what comes at once
]
MOST_UNSENT_BYTES = 131_072  # for a client that does not read
LOW_BYTES = 16_384  # unsent bytes at which older events go on
PATIENCE_S = 30.0  # for a client that reads older events
RETRY_MS = 2_000
RETRY_AT_STOP_MS = (500, 3_000)  # not all clients connect again at the same moment
SESSION_S = 600.0  # a stream of a session ends after it: the session may have ended, too
FULL_RETRY_S = 5
NEVER_RETRY_S = 60

Follow = Callable[["StreamReader"], Awaitable[None]]
"""Beside the stream: it ends the stream, or returns without doing so."""


class StreamReader:
    """One client. See `everpost.views.events.readers.Reader`."""

    __slots__ = ("_connection", "_feed", "is_admitted", "is_over", "wanted")

    def __init__(
        self, wanted: EventFilter, connection: PushedAnswer, feed: Feed, is_admitted: Callable[[], bool]
    ) -> None:
        self.wanted = wanted
        self.is_admitted = is_admitted
        self._connection = connection
        self._feed = feed
        self.is_over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def send(self, text: bytes) -> None:
        """Send text, or hang up on a client that does not read."""
        if self.is_over.done():
            return
        if self._connection.unsent_bytes() > MOST_UNSENT_BYTES:
            self._feed.dropped += 1
            self._connection.hang_up()  # which calls `lose`
            return
        self._connection.push(_chunk(text))

    async def send_patiently(self, text: bytes) -> bool:
        """Send text in pieces, each when the client has read most of what it was sent."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(text), MOST_UNSENT_BYTES):
            if self.is_over.done():
                return False
            self._connection.push(_chunk(text[start : start + MOST_UNSENT_BYTES]))
            until_s = loop.time() + PATIENCE_S
            while self._connection.unsent_bytes() > LOW_BYTES and loop.time() < until_s and not self.is_over.done():  # noqa: ASYNC110 - nothing tells when a client reads
                await asyncio.sleep(0.005)
        return not self.is_over.done()

    def end(self) -> None:
        """End the stream: the server stops. The client comes back soon."""
        self.send(b"retry: %d\n\n" % random.randint(*RETRY_AT_STOP_MS))  # noqa: S311 - not a secret
        self.finish()

    def finish(self) -> None:
        """End the stream in order."""
        if not self.is_over.done():
            self.is_over.set_result(True)

    def lose(self) -> None:
        """The client is gone."""
        if not self.is_over.done():
            self.is_over.set_result(False)


@lru_cache(maxsize=1)
def _chunk(text: bytes) -> bytes:
    """The text as a chunk: many readers in a row are sent the same one."""
    return b"%x\r\n%b\r\n" % (len(text), text)


def admission_of(request: ApiRequest) -> Callable[[], bool]:
    """Tells, later on, whether the caller of a request may still be served."""
    caller, directory = caller_of(request), services_of(request).keys.directory
    loop, key_id = asyncio.get_running_loop(), caller.key_id
    until_s = loop.time() + SESSION_S if caller.in_session else math.inf

    def is_admitted() -> bool:
        return loop.time() < until_s and (key_id is None or directory.find_id(key_id) is not None)

    return (lambda: directory.is_open) if caller is ANONYMOUS_ADMIN else is_admitted


class EventStream(ASGIResponse):
    """A stream of events.

    Args:
        after: The id of the last event that the client has.
        follow: Beside the stream, once it has all there was.
    """

    __slots__ = ("_after", "_feed", "_follow", "_request", "_wanted")

    def __init__(
        self, request: ApiRequest, feed: Feed, wanted: EventFilter, after: str | None, follow: Follow | None = None
    ) -> None:
        self._request = request
        self._feed = feed
        self._wanted = wanted
        self._after = after
        self._follow = follow
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client hangs up or the server stops."""
        state: dict[str, Any] = scope["state"]
        connection: PushedAnswer | None = state.get(CONNECTION)
        if connection is None:  # another server than Everpost's own
            await self._refuse("This server cannot stream.", NEVER_RETRY_S)(scope, receive, send)
            return
        reader = StreamReader(self._wanted, connection, self._feed, admission_of(self._request))
        if not state.get(IS_HEAD) and not connection.begin_stream(reader.lose):
            await self._refuse("Too many streams are open.")(scope, receive, send)
            return
        count_answer(scope, self.status_code)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": HEADERS})
            if state.get(IS_HEAD) or await self._stream(reader):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            connection.end_stream()

    def _refuse(self, why: str, retry_s: int = FULL_RETRY_S) -> JsonAnswer:
        return answer_problem(self._request, Unavailable(why, retry_s)).to_asgi_response()

    async def _stream(self, reader: StreamReader) -> bool:
        """Stream; whether it ended in order."""
        reader.send(b"retry: %d\n\n" % RETRY_MS)
        following: asyncio.Task[None] | None = None
        try:
            await self._feed.join(reader, self._after)
            if self._follow is not None:
                following = asyncio.create_task(_as_coroutine(self._follow, reader))
            return await reader.is_over
        finally:
            self._feed.leave(reader)
            if following is not None:
                following.cancel()


async def _as_coroutine(follow: Follow, reader: StreamReader) -> None:
    try:
        await follow(reader)
    except Exception:
        log.exception("events.stream_failed")
        reader.finish()
