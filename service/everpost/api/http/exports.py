"""Sends an export of any size step by step, in the memory of one step."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import structlog
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from everpost.api.export_slots import ExportSlots
from everpost.api.http.head_requests import IS_HEAD
from everpost.api.http.json_answer import count_answer
from everpost.errors import ServiceError
from everpost.views.tables import Format

log = structlog.get_logger("everpost.api")

FILENAME = "everpost-{what}.{format}"

Steps = AsyncIterator[Sequence[msgspec.Struct]]


class Export(ASGIResponse):
    """The answer: rows as they come. An error on the way cuts the connection, so no client takes a part for the whole.

    Args:
        steps: The rows. They are not empty.
        kind: The type of a row.
        what: A word for the name of the file.
        with_head: Write the head before the first row.
    """

    __slots__ = ("_format", "_kind", "_slots", "_steps", "_what", "_with_head")

    def __init__(
        self,
        steps: Steps,
        kind: type[msgspec.Struct],
        format_: Format,
        slots: ExportSlots,
        *,
        what: str,
        with_head: bool,
    ) -> None:
        self._steps, self._kind, self._format, self._slots = steps, kind, format_, slots
        self._what, self._with_head = what, with_head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer. Nothing more is read once the client has hung up."""
        with self._slots.taken():
            first = await self._next()  # an error is still an answer of its own
            count_answer(scope, 200)
            await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
            gone = asyncio.create_task(_wait_for_end(receive))
            try:
                if not scope["state"].get(IS_HEAD):
                    await self._send_all(first, gone, send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except ServiceError as error:
                log.warning("export.cut_off", what=self._what, error=error.message)
                raise
            finally:
                gone.cancel()

    async def _send_all(self, first: Sequence[msgspec.Struct], gone: "asyncio.Task[None]", send: Send) -> None:
        write, rows = self._format.write, first
        head = self._format.head(self._kind) if self._with_head else b""
        while True:
            await send({"type": "http.response.body", "body": head + write(rows), "more_body": True})
            if gone.done() or not (rows := await self._next()):
                return
            head = b""
            await asyncio.sleep(0)  # writing is quick, so nothing else would let other requests run

    async def _next(self) -> Sequence[msgspec.Struct]:
        """The next rows; empty at the end. `anext` with a default fails in Python 3.11 for generators."""
        try:
            return await anext(self._steps)
        except StopAsyncIteration:
            return ()

    def _headers(self) -> list[tuple[bytes, bytes]]:
        name = FILENAME.format(what=self._what, format=self._format)
        return [
            (b"content-type", self._format.media_type(with_head=self._with_head).encode()),
            (b"content-disposition", f'attachment; filename="{name}"'.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
