"""A client of a stream of events, for tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from everpost.testing import eventually

EVENTS = "/api/v1/events"


class Reader:
    """Reads one stream.

    Attributes:
        events: The events so far: the type, and the data.
        last_id: The id of the last event.
        status: That of the answer; 0 until it began.
        has_ended: Whether the server has ended the stream in order.
        retries: The hints when to come back.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[str] = []
        self.last_id = ""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.has_ended = False
        self.is_connected = False
        self.retries: list[int] = []

    async def read(self, client: httpx.AsyncClient, path: str, **request: Any) -> None:
        async with client.stream("GET", path, timeout=30, **request) as answer:
            self.headers, self.status = answer.headers, answer.status_code
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                self._take(fields)
                fields = {}
        self.has_ended = True

    def _take(self, fields: Mapping[str, str]) -> None:
        if "retry" in fields:
            self.retries.append(int(fields["retry"]))
        if "id" in fields:
            self.last_id = fields["id"]
            self.is_connected = True
        if "data" in fields:
            self.events.append((fields["event"], json.loads(fields["data"])))
            self.ids.append(self.last_id)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for one, data in self.events if one == kind]

    def told_of(self, task_id: str) -> list[str]:
        return [kind for kind, data in self.events if data.get("task_id") == task_id]

    async def until(self, condition: Callable[["Reader"], Any], what: str = "an event") -> Any:
        async def is_so() -> Any:
            return condition(self)

        return await eventually(is_so, what=f"{what} among {self.events}")

    async def until_told(self, kind: str, task_id: str) -> dict[str, Any]:
        def told(reader: "Reader") -> dict[str, Any] | None:
            return next((data for data in reader.of(kind) if data["task_id"] == task_id), None)

        found: dict[str, Any] = await self.until(told, f"{kind} of {task_id}")
        return found


@asynccontextmanager
async def reading(
    client: httpx.AsyncClient, path: str = EVENTS, *, after: str | None = None, **parameters: Any
) -> AsyncIterator[Reader]:
    """Read a stream, from when it has begun, or has come as far as it was before."""
    reader = Reader()
    headers = {} if after is None else {"last-event-id": after}
    task = asyncio.create_task(reader.read(client, path, params=parameters, headers=headers))
    try:
        await reader.until(lambda one: one.is_connected or one.status or task.done(), "the beginning")
        if after is None and reader.status == 200:
            await reader.until(lambda one: one.is_connected or task.done(), "the first id")
        if task.done():
            task.result()
        yield reader
    finally:
        task.cancel()
        await asyncio.wait((task,))
