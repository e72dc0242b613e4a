"""The archive: where old and deleted tasks go, and the one place that destroys any (`everpost purge`)."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from everpost.clock import Clock, system_clock, to_text
from everpost.pace import Pace
from everpost.store.archive import Reason
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load

DAY_MS = 86_400_000
MOST_BYTES = 16 << 20  # of data, moved in one transaction: nobody else writes meanwhile
COUNTING_S = 60.0


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """When a task ended, as stored, and its row: a place in the order in which tasks ended."""

    at: str
    row: int


class OldTask(msgspec.Struct, frozen=True):
    """A success that may be archived."""

    ended: Ended
    task_id: str
    size_bytes: int


FIRST = Ended("", 0)


class Archive:
    """Moves ended tasks from `publish_tasks` to `publish_tasks_archive`, each in one transaction (I1)."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database = database
        self._clock = clock

    async def archive_older(self, before_ms: int, limit: int = 1_000) -> int:
        """Move the next successes that ended before `before_ms`, at most `limit`; how many, 0 only if none is left.

        A row of an original file has naive local times, and is moved up to a day later.
        """
        return await self._database.write(lambda connection: self._move_older(connection, before_ms, limit))

    def archive_in_steps(self, before_ms: int, pace: Pace) -> AsyncIterator[int]:
        """Move all of them, in steps that let others write; how many each had."""
        return self._in_steps(lambda limit, connection: self._move_older(connection, before_ms, limit), pace)

    def _move_older(self, connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
        rows = _fitting(_find_older(connection, before_ms, FIRST, limit))
        archive_rows(connection, rows, Reason.AGE, self._clock())
        return len(rows)

    async def page_older(self, before_ms: int, position: str | None, limit: int) -> tuple[list[str], str | None]:
        """The ids of the next tasks, at most `limit`, that `archive_older` would move, and the position behind them."""
        after = FIRST if position is None else msgspec.json.decode(position, type=Ended)
        found = await self._database.read(lambda connection: _find_older(connection, before_ms, after, limit + 1))
        following = msgspec.json.encode(found[limit - 1].ended).decode() if len(found) > limit else None
        return [old.task_id for old in found[:limit]], following

    async def count_older(self, before_ms: int) -> int:
        """How many tasks `archive_older` would move in all; of a million it takes a second or two.

        Raises:
            SearchTimeout: It took longer than `COUNTING_S`.
        """
        parameters = _age_bounds(before_ms)
        row = await self._database.search(
            lambda connection: connection.execute(load("count_old_tasks"), parameters).fetchone(), within_s=COUNTING_S
        )
        return int(row[0])

    async def purge_archived(self, before_ms: int | None = None, limit: int = 1_000) -> int:
        """Destroy the next `limit` tasks archived before `before_ms`, or any; how many there were. There is no undo."""
        return await self._database.write(lambda connection: _purge(connection, before_ms, limit))

    def purge_in_steps(self, before_ms: int, pace: Pace) -> AsyncIterator[int]:
        """Destroy all of them, in steps that let others write; how many each had."""
        return self._in_steps(lambda limit, connection: _purge(connection, before_ms, limit), pace)

    async def count_archived(self, before_ms: int | None = None) -> int:
        """How many tasks `purge_archived` would destroy in all."""
        parameters = {"before": "~" if before_ms is None else to_text(before_ms)}
        row = await self._database.search(
            lambda connection: connection.execute(load("count_archived"), parameters).fetchone(), within_s=COUNTING_S
        )
        return int(row[0])

    async def _in_steps(self, step: Callable[[int, sqlite3.Connection], int], pace: Pace) -> AsyncIterator[int]:
        done = 1
        while done:
            async with pace.step() as size:
                done = await self._database.write(pace.timed(partial(step, size)))
            if done:
                yield done


def archive_rows(
    connection: sqlite3.Connection, rows: Collection[int], reason: Reason, now_ms: int, *, task_id: str | None = None
) -> None:
    """Move rows of `publish_tasks`, given by number; `task_id` is the id of those that lie there without one."""
    if not rows:
        return
    parameters: dict[str, Any] = {"rows": msgspec.json.encode(list(rows)).decode()}
    archived = {"now": to_text(now_ms), "reason": reason.value, "task_id": task_id}
    connection.execute(load("archive_rows"), parameters | archived)
    connection.execute(load("unsearch_rows"), parameters)
    connection.execute(load("forget_rows"), parameters)


def _find_older(connection: sqlite3.Connection, before_ms: int, after: Ended, limit: int) -> list[OldTask]:
    parameters = {**_age_bounds(before_ms), "ended_at": after.at, "row": after.row, "limit": limit}
    return [
        OldTask(Ended(ended_at, row), task_id, size_bytes or 0)
        for row, task_id, ended_at, size_bytes in connection.execute(load("find_old_tasks"), parameters)
    ]


def _fitting(found: Sequence[OldTask]) -> list[int]:
    """The rows up to the one with which they have `MOST_BYTES`."""
    rows: list[int] = []
    left_bytes = MOST_BYTES
    for old in found:
        rows.append(old.ended.row)
        left_bytes -= old.size_bytes
        if left_bytes <= 0:
            break
    return rows


def _purge(connection: sqlite3.Connection, before_ms: int | None, limit: int) -> int:
    parameters = {"before": "~" if before_ms is None else to_text(before_ms), "limit": limit}
    return connection.execute(load("purge_archived"), parameters).rowcount


def _age_bounds(before_ms: int) -> dict[str, str]:
    return {"before": to_text(before_ms), "day_before": to_text(before_ms - DAY_MS)}
