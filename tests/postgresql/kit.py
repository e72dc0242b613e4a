"""The kit of PostgreSQL's store: tests outside this folder ask `store_kit.kit_of` for it."""

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from everpost.task.place import Place
from store_kit import StoredTask, stored_task

TABLES = {Place.LEDGER: "task_queue", Place.HISTORY: "publish_tasks", Place.ARCHIVE: "publish_tasks_archive"}
PLACES = {table: place for place, table in TABLES.items()}
IDS = {Place.LEDGER: "task_id", Place.HISTORY: "job_id", Place.ARCHIVE: "job_id"}
DATA = {Place.LEDGER: "data", Place.HISTORY: "task_data", Place.ARCHIVE: "task_data"}

TASKS = """
SELECT 0 AS source, written_in::text::bigint AS transaction, task_id, status, data, title, NULL AS error_class,
       retry_of, root_id, accepted_by IS NULL AS inherited, created_at, NULL AS completed_at
FROM task_queue
UNION ALL
SELECT 1, xmin::text::bigint, job_id, status, task_data, title, error_class, retry_of, root_id, false, created_at,
       completed_at
FROM publish_tasks
UNION ALL
SELECT 2, archived_row, job_id, status, task_data, title, error_class, retry_of, root_id, false, created_at,
       completed_at
FROM publish_tasks_archive
ORDER BY source, transaction, task_id
"""
ALL_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
COLUMNS = """
SELECT relname, array_agg(attname::text)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
GROUP BY relname
"""
OLDEST = "SELECT min(created_at) FROM task_queue WHERE due_at IS NULL"
COUNTED = """
SELECT source, sum(tasks)::bigint FROM (
    SELECT source, tasks FROM task_counts UNION ALL SELECT source, tasks FROM task_count_changes
) AS counts
GROUP BY source HAVING sum(tasks) > 0
"""
TWICE_ALIVE = "SELECT coalesce(root_id, task_id) AS chain FROM task_queue GROUP BY chain HAVING count(*) > 1"
MISCOUNT = """
INSERT INTO task_count_changes
SELECT source, status, platform, 1 FROM (TABLE task_counts UNION TABLE task_count_changes) AS counts
"""
COLLISIONS = """
SELECT 'two rows of the history have the id ' || job_id FROM publish_tasks GROUP BY job_id HAVING count(*) > 1
UNION ALL
SELECT 'an index lacks rows of the ledger'
WHERE (SELECT count(*) FROM task_queue) <> (SELECT count(*) FROM task_queue WHERE task_id > '')
"""
LOCK = """
LOCK TABLE task_queue, publish_tasks, publish_tasks_archive, idempotency_keys, operations, everpost_meta
IN EXCLUSIVE MODE
"""
ACTIVITY = """
SELECT pid, state, now() - xact_start, wait_event_type, wait_event, pg_blocking_pids(pid), left(query, 120)
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY xact_start
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class PostgresqlKit:
    """The kit of one database."""

    def __init__(self, address: str) -> None:
        self._address = address

    def tasks(self) -> list[StoredTask]:
        return [stored_task(row) for row in self.select(TASKS)]

    def get_meta(self, key: str) -> str | None:
        rows = self.select("SELECT value FROM everpost_meta WHERE key = %s", key)
        return str(rows[0][0]) if rows else None

    def columns(self, place: Place, task_id: str, *names: str) -> tuple[Any, ...]:
        statement = sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(
            sql.SQL(", ").join(_column(place, name) for name in names), _table(place), _column(place, "task_id")
        )
        (row,) = self.select(statement, task_id)
        return row

    def count(self, *places: Place) -> int:
        return sum(
            self.select(sql.SQL("SELECT count(*) FROM {}").format(_table(place)))[0][0] for place in places or TABLES
        )

    def oldest_waiting(self) -> str | None:
        oldest: str | None = self.select(OLDEST)[0][0]
        return oldest

    def count_operations(self) -> int:
        return int(self.select("SELECT count(*) FROM operations")[0][0])

    def count_skips(self) -> int:
        return int(self.select("SELECT count(*) FROM operation_skips")[0][0])

    def count_keys(self) -> int:
        return int(self.select("SELECT count(*) FROM idempotency_keys")[0][0])

    def batches(self) -> list[str]:
        return [batch_id for (batch_id,) in self.select("SELECT batch_id FROM batches ORDER BY batch_id")]

    def forget_items(self) -> None:
        assert self.execute("UPDATE batches SET items = '[]'")

    def everything(self) -> bytes:
        rows = [
            row
            for (table,) in self.select(ALL_TABLES)
            for (row,) in self.select(sql.SQL("SELECT row::text FROM {} AS row").format(sql.Identifier(table)))
        ]
        return "\n".join(rows).encode()

    def tables(self) -> dict[str, set[str]]:
        return {table: set(columns) for table, columns in self.select(COLUMNS)}

    def counted(self) -> dict[Place, int]:
        return {PLACES[table]: count for table, count in self.select(COUNTED)}

    def find_faults(self) -> list[str]:
        return [line for (line,) in self.select(COLLISIONS)]

    def find_chains_twice_alive(self) -> list[str]:
        return [chain for (chain,) in self.select(TWICE_ALIVE)]

    def add(self, place: Place, *rows: Mapping[str, Any]) -> None:
        connection = _connected(self._address)
        with connection.transaction():
            for row in rows:
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    _table(place),
                    sql.SQL(", ").join(_column(place, name) for name in row),
                    sql.SQL(", ").join([sql.Placeholder()] * len(row)),
                )
                connection.execute(statement, [_stored(name, value) for name, value in row.items()])

    def change(self, place: Place, task_id: str | None = None, **columns: Any) -> None:
        changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(_column(place, name)) for name in columns)
        statement = sql.SQL("UPDATE {} SET {}").format(_table(place), changes)
        values = [*columns.values()]
        if task_id is not None:
            statement += sql.SQL(" WHERE {} = %s").format(_column(place, "task_id"))
            values.append(task_id)
        assert self.execute(statement, *values), "no row was changed"

    def miscount(self) -> None:
        assert self.execute(MISCOUNT)

    def rewrite_audit(self) -> None:
        self.execute("UPDATE audit_log SET who = 'li'")

    def empty_audit(self) -> None:
        self.execute("DELETE FROM audit_log")

    def hide_ledger(self) -> None:
        self.execute("ALTER TABLE task_queue RENAME TO hidden")

    def spoil_title(self, place: Place, task_id: str) -> None:
        """PostgreSQL cannot hold such text."""

    def remove(self, place: Place, task_id: str) -> None:
        statement = sql.SQL("DELETE FROM {} WHERE {} = %s").format(_table(place), _column(place, "task_id"))
        assert self.execute(statement, task_id) == 1

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self._address) as connection:
            connection.execute(LOCK)
            yield
            connection.rollback()

    def activity(self) -> str:
        return "\n".join(" ".join(map(str, row)) for row in self.select(ACTIVITY))

    def count_waiting(self) -> int:
        """How many transactions in this database wait for a lock."""
        return int(self.select(WAITING)[0][0])

    def select(self, statement: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, whose parameters are `%s`."""
        return _connected(self._address).execute(statement, parameters or None).fetchall()

    def execute(self, statement: Any, *parameters: Any) -> int:
        """Run a statement; how many rows it wrote."""
        return _connected(self._address).execute(statement, parameters or None).rowcount


_last: dict[str, psycopg.Connection] = {}


def _connected(address: str) -> psycopg.Connection:
    """The connection of the last call, if it leads there and works: connecting takes longer than most calls."""
    connection = _last.get(address)
    if connection is not None:
        try:
            connection.execute("SELECT")
        except psycopg.OperationalError:
            connection = None
    if connection is None:
        _disconnect()
        connection = _last[address] = psycopg.connect(address, autocommit=True)
    return connection


@atexit.register
def _disconnect() -> None:
    while _last:
        _last.popitem()[1].close()


def _stored(name: str, value: Any) -> Any:
    """The value as a program can store it: only `raw_job` takes bytes, and text is UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) and name != "raw_job" else value


def _table(place: Place) -> sql.Identifier:
    return sql.Identifier(TABLES[place])


def _column(place: Place, name: str) -> sql.Identifier:
    return sql.Identifier({"task_id": IDS[place], "data": DATA[place]}.get(name, name))
