"""A PostgreSQL database as the demonstration shows it, with the SQL of a person who looks at it."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.database_address import postgresql_address
from everpost.store.postgresql.link.blocking import BlockingDatabase
from everpost.store.postgresql.queries import statements
from everpost.store.postgresql.schema.migrate import bring_up
from everpost.store.shown import ORIGINAL_TASK, ShownRows


class PostgresqlShown:
    """See `everpost.store.shown.ShownStore`."""

    def __init__(self, address: str) -> None:
        self._address = postgresql_address(address)

    def write_original(self) -> None:
        """See `ShownStore`. `everpost move` brings such a row here from an original file."""
        with self._connected() as database:
            database.run(bring_up)
            database.write(lambda connection: connection.run("add_original_row", task_id=ORIGINAL_TASK))

    def row(self, task_id: str) -> Mapping[str, Any]:
        """See `ShownStore`."""
        with self._connected() as database:
            (row,) = database.fetch_all("history_row", task_id=task_id)
            return row

    def ask(self) -> Sequence[ShownRows]:
        """See `ShownStore`."""
        return [self._shown("single_tasks"), self._shown("kinds_of_tasks")]

    def find_faults(self) -> Sequence[str]:
        """See `ShownStore`. What is damaged in the files, only PostgreSQL's own tools can tell."""
        with self._connected() as database:
            twice = [f"in two tables: {row['job_id']}" for row in database.fetch_all("in_two_tables")]
            return [*twice, *(f"unfinished: {row['task_id']}" for row in database.fetch_all("ledger_ids"))]

    def _shown(self, name: str) -> ShownRows:
        with self._connected() as database:
            rows = database.fetch_all(name)
        return ShownRows(" ".join(statements()[name].split()), [*rows[0]], [[*row.values()] for row in rows])

    def _connected(self) -> BlockingDatabase:
        return BlockingDatabase(self._address)
