"""The port's noun `archive` in SQLite: finding old successes, and destroying archived tasks."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.portions import count_fitting
from everpost.store.archive import COUNTING_S, MOST_BYTES
from everpost.store.sqlite.care.left_behind import purge_left_behind
from everpost.store.sqlite.care.space import find_space, give_back_space
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list

DAY_MS = 86_400_000


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """When a task ended, as stored, and its row: a place in the order in which tasks ended. It is a page's cursor.

    A cursor that came from PostgreSQL has an id in place of the row.
    """

    at: str
    row: int | str


class OldTask(msgspec.Struct, frozen=True):
    """A success that may be archived."""

    ended: Ended
    task_id: str
    size_bytes: int


FIRST = Ended("", 0)


class SqliteArchive:
    """See `everpost.store.archive.Archive`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def archive_whole(self, before_ms: int, now_ms: int) -> int:
        """See `Archive`. All tasks are in one table, so they move one by one."""
        del before_ms, now_ms
        return 0

    async def page_older(self, before_ms: int, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Archive`."""
        after = FIRST if cursor is None else msgspec.json.decode(cursor, type=Ended)
        found = await self._database.read(lambda connection: _find_older(connection, before_ms, after, limit + 1))
        count = min(limit, count_fitting((old.size_bytes for old in found), MOST_BYTES))
        following = msgspec.json.encode(found[count - 1].ended).decode() if len(found) > count else None
        return [old.task_id for old in found[:count]], following

    async def page_removed(self, operation_id: str, from_ms: int, until_ms: int, limit: int) -> list[str]:
        """See `Archive.page_removed`."""
        given = {"operation_id": operation_id, "limit": limit, "from": to_text(from_ms), "until": to_text(until_ms)}
        rows = await self._database.read(lambda connection: connection.execute(load("page_removed"), given).fetchall())
        return [task_id for (task_id,) in rows]

    async def count_older(self, before_ms: int) -> int:
        """See `Archive`. A million takes a second or two."""
        return await self._count("count_older", _age_bounds(before_ms))

    async def purge(self, before_ms: int, pace: Pace) -> AsyncIterator[int]:
        """See `Archive`."""
        async for destroyed in self._in_steps(lambda limit, connection: _purge(connection, before_ms, limit), pace):
            yield destroyed
        async for destroyed in purge_left_behind(self._database, before_ms, pace):
            yield destroyed

    async def count_archived(self, before_ms: int) -> int:
        """See `Archive`."""
        return await self._count("count_archived", {"before": to_text(before_ms)})

    async def free_space(self) -> int:
        """See `Archive`."""
        return (await self._database.read(find_space)).free_bytes

    def give_back_space(self, pace: Pace) -> AsyncIterator[int]:
        """See `Archive`. A file without the map of its pages stays as it is."""
        return self._in_steps(lambda pages, connection: give_back_space(connection, pages), pace)

    async def _count(self, statement: str, parameters: dict[str, str]) -> int:
        row = await self._database.search(
            lambda connection: connection.execute(load(statement), parameters).fetchone(), within_s=COUNTING_S
        )
        return int(row[0])

    async def _in_steps(self, step: Callable[[int, sqlite3.Connection], int], pace: Pace) -> AsyncIterator[int]:
        """Repeat a step, given how much it may do, until it finds nothing to do."""
        done = 1
        while done:
            async with pace.step() as size:
                done = await self._database.write(pace.timed(partial(step, size)))
            if done:
                yield done


def _find_older(connection: sqlite3.Connection, before_ms: int, after: Ended, limit: int) -> list[OldTask]:
    parameters = {**_age_bounds(before_ms), "ended_at": after.at, "limit": limit}
    parameters["row"] = after.row if isinstance(after.row, int) else 0
    return [
        OldTask(Ended(ended_at, row), task_id, size_bytes or 0)
        for row, task_id, ended_at, size_bytes in connection.execute(load("page_older"), parameters)
    ]


def _purge(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    parameters = {"before": to_text(before_ms), "limit": limit}
    purged = [row[0] for row in connection.execute(load("purge"), parameters)]
    task_ids = json_list([task_id for task_id in purged if task_id])
    for statement in ("purge_edits", "purge_traces"):
        connection.execute(load(statement), {"task_ids": task_ids})
    return len(purged)


def _age_bounds(before_ms: int) -> dict[str, str]:
    return {"before": to_text(before_ms), "day_before": to_text(before_ms - DAY_MS)}
