"""The port's noun `traces` in PostgreSQL."""

from collections.abc import Mapping, Sequence

from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import json_text
from everpost.store.traces import TaskTrace


class PostgresqlTraces:
    """See `everpost.store.traces.Traces`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, traces: Mapping[str, TaskTrace]) -> None:
        """See `Traces`."""
        rows = [
            {"task_id": task_id, "context": trace.context, "origin": trace.origin} for task_id, trace in traces.items()
        ]
        await self._database.write(lambda connection: connection.run("keep_traces", rows=json_text(rows)))

    async def find(self, task_ids: Sequence[str]) -> dict[str, TaskTrace]:
        """See `Traces`."""
        rows = await self._database.read(lambda connection: connection.fetch_all("find_traces", task_ids=[*task_ids]))
        return {row["task_id"]: TaskTrace(row["context"], row["origin"]) for row in rows}
