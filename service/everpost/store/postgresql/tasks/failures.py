"""Keeps the causes of failed tasks, tables `failures` and `failure_causes`."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import json_text
from everpost.store.task_rows import failure_of
from everpost.task.model import TaskRecord

MOST_KNOWN = 10_000


class KnownCauses:
    """Writes each cause once, before the tasks that have it.

    A transaction that ends tasks writes no cause: of two that write the same new one, one would wait for the other,
    which may wait for a batch that the first has locked.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()

    async def keep(self, records: Sequence[TaskRecord]) -> None:
        """Write the causes of these tasks, unless this process has written them before."""
        found = [
            {"error_class": record.error_class, **failure}
            for record in records
            if (failure := failure_of(record)) is not None and failure["cause"] not in self._known
        ]
        if not found:
            return
        await self._database.write(lambda connection: keep_causes(connection, found))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.update(failure["cause"] for failure in found)


async def keep_causes(connection: Connection, failures: Sequence[Mapping[str, Any]]) -> None:
    """Keep the causes themselves."""
    await connection.run("keep_causes", rows=json_text(failures))


async def keep_failures(connection: Connection, failures: Sequence[Mapping[str, Any]]) -> None:
    """Keep the causes of failed tasks that are in the history, as rows of `everpost.store.failures.failure_row`."""
    if failures:
        await keep_causes(connection, failures)
        await connection.run("keep_failures", rows=json_text(failures))
