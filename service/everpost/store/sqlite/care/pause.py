"""Dispatch on hold after a restore: what is known of it, the tasks that are held, and how they are let go."""

from collections.abc import Collection, Sequence

import msgspec
import structlog

from everpost.store.pause import Pause
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.completion import complete_tasks
from everpost.task.model import TaskRecord

log = structlog.get_logger("everpost.dispatch")

KEY = "paused"  # in everpost_meta; while it is there, no worker claims anything


class Pauses:
    """The verbs of a pause."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> Pause | None:
        """The pause; None if dispatch goes on."""
        row = await self._database.read(
            lambda connection: connection.execute(load("get_meta"), {"key": KEY}).fetchone()
        )
        return None if row is None else msgspec.json.decode(row[0], type=Pause)

    async def count_held(self) -> int:
        """How many tasks are held."""
        row = await self._database.read(lambda connection: connection.execute(load("count_held")).fetchone())
        return int(row[0])

    async def held_after(self, row: int, limit: int) -> list[tuple[int, str]]:
        """The next held tasks behind a row of the ledger: row and id."""
        parameters = {"after": row, "limit": limit}
        return await self._database.read(
            lambda connection: connection.execute(load("held_after"), parameters).fetchall()
        )

    async def strangers_among(self, task_ids: Collection[str]) -> set[str]:
        """Which of the tasks no table has."""
        parameters = {"task_ids": as_json(task_ids)}
        known = await self._database.read(
            lambda connection: connection.execute(load("known_among"), parameters).fetchall()
        )
        return set(task_ids) - {task_id for (task_id,) in known}

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """Held tasks end so, or are free to run; those that are held no longer stay as they are."""
        await self._database.write(lambda connection: _let_go(connection, ended, released))

    async def record(self, strangers: Sequence[TaskRecord]) -> None:
        """Keep what only Redis knew."""
        await self._database.write(lambda connection: complete_tasks(connection, strangers))

    async def end(self) -> None:
        """Let dispatch begin."""
        await self._database.write(lambda connection: connection.execute(load("forget_meta"), {"key": KEY}))


async def warn_of_pause(pauses: Pauses) -> bool:
    """Tell the log of the pause, if there is one."""
    pause = await pauses.find()
    if pause is not None:
        log.warning("dispatch.paused", resume_with="everpost resume", **msgspec.structs.asdict(pause))
    return pause is not None


def _let_go(connection: sqlite3.Connection, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
    asked = {"task_ids": as_json([record.task_id for record in ended])}
    held = {task_id for (task_id,) in connection.execute(load("held_among"), asked)}
    complete_tasks(connection, [record for record in ended if record.task_id in held])
    connection.execute(load("release_held"), {"task_ids": as_json(released)})


def as_json(task_ids: Collection[str]) -> str:
    """Ids as the statements take them."""
    return msgspec.json.encode(list(task_ids)).decode()
