"""The port's noun `traces` in SQLite."""

from collections.abc import Mapping, Sequence

import msgspec

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.queries import load
from everpost.store.traces import TaskTrace


class SqliteTraces:
    """See `everpost.store.traces.Traces`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, traces: Mapping[str, TaskTrace]) -> None:
        """See `Traces`."""
        rows = [(task_id, trace.context, trace.origin) for task_id, trace in traces.items()]
        text = msgspec.json.encode(rows).decode()
        await self._database.write(lambda connection: connection.execute(load("keep_traces"), {"rows": text}))

    async def find(self, task_ids: Sequence[str]) -> dict[str, TaskTrace]:
        """See `Traces`."""
        text = msgspec.json.encode(task_ids).decode()
        rows = await self._database.read(
            lambda connection: connection.execute(load("find_traces"), {"task_ids": text}).fetchall()
        )
        return {task_id: TaskTrace(context, origin) for task_id, context, origin in rows}
