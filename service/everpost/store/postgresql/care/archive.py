"""The port's noun `archive` in PostgreSQL: finding old successes, and destroying archived tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec

from everpost.clock import DAY_MS, to_text
from everpost.errors import DatabaseBusy
from everpost.pace import Pace
from everpost.portions import count_fitting
from everpost.store.archive import COUNTING_S, MOST_BYTES
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """When a task ended, as stored, and its id: a place in the order in which tasks ended. It is a page's cursor.

    A cursor that came from an SQLite file has a number in place of the id.
    """

    at: str
    task_id: str | int


FIRST = Ended("", "")
FEWEST = 20_000  # tasks of a month that is archived as a whole; fewer are moved quickly
MOST_STAYING = 100_000  # tasks of it that move because they stay; others cannot change them meanwhile
TRIES = 5  # at a month that is in use
PAUSE_S = 0.5


class PostgresqlArchive:
    """See `everpost.store.archive.Archive`."""

    def __init__(self, database: Database, *, fewest: int = FEWEST, most_staying: int = MOST_STAYING) -> None:
        self._database = database
        self._limits = {"fewest": fewest, "most_staying": most_staying}

    async def archive_whole(self, before_ms: int, now_ms: int) -> int:
        """See `Archive`: it is the oldest month. If a month stays in use, its tasks are archived one by one."""
        given = {**_age_bounds(before_ms), "at": to_text(now_ms), **self._limits}
        for _ in range(TRIES):
            with suppress(DatabaseBusy):
                return await self._change_months("archive_month", **given)
            await asyncio.sleep(PAUSE_S)
        return 0

    async def _change_months(self, statement: str, **given: Any) -> int:
        """The number of tasks that a function of `schema/0003_archived_months.sql` answers; 0 if none."""
        count = await self._database.write(
            lambda connection: connection.fetch_value(statement, **given), statement_s=None
        )
        return count or 0

    async def page_older(self, before_ms: int, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Archive`."""
        after = FIRST if cursor is None else msgspec.json.decode(cursor, type=Ended)
        after_id = after.task_id if isinstance(after.task_id, str) else ""
        parameters = {**_age_bounds(before_ms), "ended_at": after.at, "task_id": after_id, "limit": limit + 1}
        found = await self._database.read(lambda connection: connection.fetch_all("page_older", **parameters))
        count = min(limit, count_fitting((row["size_bytes"] for row in found), MOST_BYTES))
        following = _cursor_of(found[count - 1]) if len(found) > count else None
        return [row["task_id"] for row in found[:count]], following

    async def page_removed(self, operation_id: str, from_ms: int, until_ms: int, limit: int) -> list[str]:
        """See `Archive.page_removed`."""
        given = {"operation_id": operation_id, "limit": limit, "from": to_text(from_ms), "until": to_text(until_ms)}
        rows = await self._database.read(lambda connection: connection.fetch_all("page_removed", **given))
        return [row["job_id"] for row in rows]

    async def count_older(self, before_ms: int) -> int:
        """See `Archive`."""
        return await self._count("count_older", _age_bounds(before_ms))

    async def purge(self, before_ms: int, pace: Pace) -> AsyncIterator[int]:
        """See `Archive`."""
        while done := await self._purge_month(before_ms):
            yield done
        await self._database.write(lambda connection: connection.run("purge_lost_edits"), statement_s=None)
        await self._database.write(lambda connection: connection.run("purge_lost_traces"), statement_s=None)
        done = 1
        while done:
            async with pace.step() as size:
                done = await self._purge(before_ms, size)
            if done:
                yield done
        if lost := await self._purge_left_behind(to_text(before_ms)):
            yield lost

    async def _purge_left_behind(self, before: str) -> int:
        """Destroy batches without any task, and then ended callbacks about what is nowhere; how many callbacks."""
        await self._database.write(
            lambda connection: connection.run("purge_lost_batches", before=before), statement_s=None
        )
        return await self._database.write(
            lambda connection: connection.run("purge_lost_callbacks", before=before), statement_s=None
        )

    async def _purge_month(self, before_ms: int) -> int:
        for _ in range(TRIES):
            with suppress(DatabaseBusy):
                return await self._change_months("purge_month", before=to_text(before_ms))
            await asyncio.sleep(PAUSE_S)
        raise DatabaseBusy

    async def _purge(self, before_ms: int, limit: int) -> int:
        parameters = {"before": to_text(before_ms), "limit": limit}

        async def purge(connection: Connection) -> int:
            purged = await connection.fetch_all("purge", **parameters)
            task_ids = [row["job_id"] for row in purged if row["job_id"] is not None]
            if task_ids:
                await connection.run("purge_edits", task_ids=task_ids)
                await connection.run("purge_traces", task_ids=task_ids)
            return len(purged)

        return await self._database.write(purge)

    async def count_archived(self, before_ms: int) -> int:
        """See `Archive`."""
        return await self._count("count_archived", {"before": to_text(before_ms)})

    async def free_space(self) -> int:
        """See `Archive`. PostgreSQL's autovacuum makes the space of destroyed tasks free for others."""
        return 0

    async def give_back_space(self, pace: Pace) -> AsyncIterator[int]:
        """See `Archive`."""
        del pace
        for _ in ():
            yield 0

    async def _count(self, statement: str, parameters: dict[str, str]) -> int:
        return int(
            await self._database.search(
                lambda connection: connection.fetch_value(statement, **parameters), within_s=COUNTING_S
            )
        )


def _cursor_of(row: dict[str, Any]) -> str:
    return msgspec.json.encode(Ended(row["ended_at"], row["task_id"])).decode()


def _age_bounds(before_ms: int) -> dict[str, str]:
    return {"before": to_text(before_ms), "day_before": to_text(before_ms - DAY_MS)}
