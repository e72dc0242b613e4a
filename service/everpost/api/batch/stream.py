"""An NDJSON batch of any size, answered line by line while it arrives, in the memory of a few hundred lines.

Answers that the client does not read wait in a spool. When the spool is full, the rest of the request stays unread.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from everpost.api.batch.lines import LineReader
from everpost.api.batch.placing import read_spread
from everpost.api.batch.posted_batch import ItemResult, PostedBatch
from everpost.api.http.bodies import NDJSON, ClientGone
from everpost.api.http.json_answer import count_answer
from everpost.api.spool import Spool, Spools
from everpost.errors import BadInput, InvalidValue, ServiceError
from everpost.task.submission import decode_json

log = structlog.get_logger("everpost.api")

CHUNK_ITEMS = 256  # the most items of one transaction
STATUS = 202
_encoder = msgspec.json.Encoder()


class BatchEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of the answer; without it, the answer was cut off."""

    batch_id: str
    accepted: int
    rejected: int
    done: bool = True


class BatchStream(ASGIResponse):
    """The answer to a stream: it reads the request while it is sent."""

    __slots__ = ("_batch", "_is_first", "_lines", "_spool")

    def __init__(self, batch: PostedBatch, spools: Spools, limit_bytes: int) -> None:
        """`limit_bytes` is the longest allowed line."""
        self._batch = batch
        self._is_first = True
        self._lines = LineReader(limit_bytes)
        self._spool = Spool(spools)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept and answer at the same time: a client may send much before it reads anything."""
        accepting = asyncio.create_task(self._accept_all(receive))
        try:
            await self._spool.wait()
            if self._spool.is_empty:
                await accepting  # it failed before the answer began
            await self._send_all(scope, send)
            await accepting
        finally:
            accepting.cancel()
            self._spool.close()

    async def _send_all(self, scope: Scope, send: Send) -> None:
        count_answer(scope, STATUS)
        headers = [
            (b"content-type", NDJSON.encode()),
            (b"location", f"/api/v1/tasks?batch_id={self._batch.batch_id}".encode()),
        ]
        await send({"type": "http.response.start", "status": STATUS, "headers": headers})
        async for chunk in self._spool.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _accept_all(self, receive: Receive) -> None:
        batch = self._batch
        try:
            async for lines in self._chunks_of_lines(receive):
                await self._spool.write(_encoder.encode_lines(await self._accept(lines)))
                await asyncio.sleep(0)  # if all lines are refused, nothing else would let other tasks run
            if not batch.accepted + batch.rejected:
                raise InvalidValue("The body contains no task.")
            end = BatchEnd(batch_id=batch.batch_id, accepted=batch.accepted, rejected=batch.rejected)
            await self._spool.write(_encoder.encode(end) + b"\n")
        except ClientGone:
            log.warning("batch.cut_off", batch_id=batch.batch_id, accepted=batch.accepted, rejected=batch.rejected)
        finally:
            self._spool.finish()

    async def _accept(self, lines: list[bytes | None]) -> list[ItemResult]:
        try:
            return await self._batch.accept_lines(self._without_head(lines))
        except ServiceError as error:
            if not self._batch.accepted + self._batch.rejected:
                raise
            return self._batch.refuse(len(lines), error)  # the answer has begun, so each line gets the error

    def _without_head(self, lines: list[bytes | None]) -> list[bytes | None]:
        """The lines that are tasks. The first line of a stream may say how its tasks are spread.

        Raises:
            InvalidValue: The spread is not valid.
        """
        if not self._is_first or not lines:
            return lines
        self._is_first = False
        head = head_in(lines[0])
        if head is None:
            return lines
        if unknown := [name for name in head if name != "spread"]:
            raise InvalidValue(f"There is no field {unknown[0][:64]!r} in the head of a stream, only `spread`.")
        self._batch.spread_over(read_spread(head["spread"]), is_stream=True)
        return lines[1:]

    async def _chunks_of_lines(self, receive: Receive) -> AsyncIterator[list[bytes | None]]:
        more = True
        while more:
            event = await receive()
            if event["type"] != "http.request":
                raise ClientGone
            more = event.get("more_body", False)
            lines = list(self._lines.feed(event.get("body", b"")))
            if not more:
                lines += self._lines.end()
            for start in range(0, len(lines), CHUNK_ITEMS):
                yield lines[start : start + CHUNK_ITEMS]


def head_in(line: bytes | None) -> dict[str, Any] | None:
    """The head of a stream, if its first line is one: an object that has `spread`, and is no task."""
    if line is None or b'"spread"' not in line:
        return None
    try:
        value = decode_json(line)
    except BadInput:
        return None
    return value if isinstance(value, dict) and "spread" in value and "platform" not in value else None
