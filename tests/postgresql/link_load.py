"""Callers that write while a server fails, and what they were told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from itertools import count

from everpost.errors import ServiceError, Unavailable, WriteUnconfirmed
from everpost.store.postgresql.link.database import Database
from everpost.testing import eventually
from postgresql.link_kit import add, stored, write

PATIENCE_S = 60


class Writers:
    """Callers that write one row after the other, half of them by transactions, until they are stopped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = count()
        self._callers: list[asyncio.Task[None]] = []
        self.confirmed: list[str] = []
        self.refused: set[str] = set()
        self.unknown: set[str] = set()

    @asynccontextmanager
    async def at_work(self, callers: int = 8) -> AsyncIterator[None]:
        """Let them write meanwhile."""
        self._callers = [asyncio.create_task(self._write(by_rows=bool(number % 2))) for number in range(callers)]
        try:
            yield
        finally:
            for caller in self._callers:
                caller.cancel()
            await asyncio.wait(self._callers)

    async def _write(self, *, by_rows: bool) -> None:
        while True:
            task_id = f"t{next(self._numbers):06}"
            try:
                await asyncio.shield(self._put(task_id, by_rows=by_rows))
            except WriteUnconfirmed:
                self.unknown.add(task_id)
            except ServiceError:
                self.refused.add(task_id)
            except asyncio.CancelledError:
                self.unknown.add(task_id)
                raise
            else:
                self.confirmed.append(task_id)

    async def _put(self, task_id: str, *, by_rows: bool) -> None:
        if by_rows:
            assert await write(self._database, task_id) == [{"task_id": task_id}]
        else:
            await self._database.write(lambda connection: add(connection, task_id))

    async def go_on(self, rows: int = 40) -> None:
        """Wait until so many more rows are confirmed, and raise what none of the callers expected."""
        wanted = len(self.confirmed) + rows

        async def are_confirmed() -> bool:
            for caller in self._callers:
                if caller.done():
                    caller.result()
            return len(self.confirmed) >= wanted

        await eventually(are_confirmed, timeout_s=PATIENCE_S, what=f"{rows} more confirmed rows")


async def go_on(database: Database, name: str) -> str:
    """Write a row as soon as it can be written; its id. Each try has its own, since a refused row may be there."""
    async with asyncio.timeout(PATIENCE_S):
        for number in count():
            task_id = f"{name} {number}"
            if await succeeds(write(database, task_id)):
                break
    assert task_id in await stored(database)
    assert database.trouble is None
    return task_id


async def succeeds(work: Awaitable[object]) -> bool:
    """Whether the database did it."""
    try:
        await work
    except Unavailable:
        return False
    return True
