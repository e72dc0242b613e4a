"""The kit of SQLite's store: tests outside this folder ask `store_kit.kit_of` for it."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from everpost.store.sqlite.library import sqlite3
from everpost.task.place import Place
from everpost.testing import Stack
from store_kit import StoredTask, stored_task

BUSY_S = 10.0
TABLES = {Place.LEDGER: "task_queue", Place.HISTORY: "publish_tasks", Place.ARCHIVE: "publish_tasks_archive"}
PLACES = {table: place for place, table in TABLES.items()}
NAMES = {
    Place.LEDGER: {},
    Place.HISTORY: {"task_id": "job_id", "data": "task_data"},
    Place.ARCHIVE: {"task_id": "job_id", "data": "task_data"},
}
"""The columns whose names differ between the tables."""

TASKS = """
SELECT 0 AS source, id AS row, task_id, status, data, title, NULL, retry_of, root_id, accepted_by IS NULL, created_at,
       NULL
FROM task_queue
UNION ALL
SELECT 1, task_id, job_id, status, task_data, title, error_class, retry_of, root_id, 0, created_at, completed_at
FROM publish_tasks
UNION ALL
SELECT 2, task_id, job_id, status, task_data, title, error_class, retry_of, root_id, 0, created_at, completed_at
FROM publish_tasks_archive
ORDER BY source, row
"""
COLUMNS = """
SELECT tables.name, columns.name FROM pragma_table_list AS tables JOIN pragma_table_xinfo(tables.name) AS columns
WHERE tables.schema = 'main' AND tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
"""
OLDEST = "SELECT min(created_at) FROM task_queue WHERE due_at IS NULL"
COUNTED = "SELECT source, sum(tasks) FROM task_counts GROUP BY source HAVING sum(tasks) > 0"
TWICE_ALIVE = "SELECT ifnull(root_id, task_id) AS chain FROM task_queue GROUP BY chain HAVING count(*) > 1"


class SqliteKit:
    """The kit of one database file. Each call opens the file anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tasks(self) -> list[StoredTask]:
        return [stored_task(row) for row in self._select(TASKS)]

    def get_meta(self, key: str) -> str | None:
        rows = self._select("SELECT value FROM everpost_meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def columns(self, place: Place, task_id: str, *names: str) -> tuple[Any, ...]:
        wanted = ", ".join(_name(place, name) for name in names)
        (row,) = self._select(f"SELECT {wanted} FROM {TABLES[place]} WHERE {_name(place, 'task_id')} = ?", task_id)
        return tuple(row)

    def count(self, *places: Place) -> int:
        counts = " + ".join(f"(SELECT count(*) FROM {TABLES[place]})" for place in places or TABLES)
        return int(self._select(f"SELECT {counts}")[0][0])

    def oldest_waiting(self) -> str | None:
        oldest: str | None = self._select(OLDEST)[0][0]
        return oldest

    def count_operations(self) -> int:
        return int(self._select("SELECT count(*) FROM operations")[0][0])

    def count_skips(self) -> int:
        return int(self._select("SELECT count(*) FROM operation_skips")[0][0])

    def count_keys(self) -> int:
        return int(self._select("SELECT count(*) FROM idempotency_keys")[0][0])

    def batches(self) -> list[str]:
        return [batch_id for (batch_id,) in self._select("SELECT batch_id FROM batches ORDER BY batch_id")]

    def forget_items(self) -> None:
        assert self._execute("UPDATE batches SET items = '[]'")

    def everything(self) -> bytes:
        return b"".join(file.read_bytes() for file in self._path.parent.glob(f"{self._path.name}*"))

    def tables(self) -> dict[str, set[str]]:
        tables: dict[str, set[str]] = {}
        for table, column in self._select(COLUMNS):
            tables.setdefault(table, set()).add(column)
        return tables

    def counted(self) -> dict[Place, int]:
        return {PLACES[table]: count for table, count in self._select(COUNTED)}

    def find_faults(self) -> list[str]:
        return [line for (line,) in self._select("PRAGMA integrity_check") if line != "ok"]

    def find_chains_twice_alive(self) -> list[str]:
        return [chain for (chain,) in self._select(TWICE_ALIVE)]

    def add(self, place: Place, *rows: Mapping[str, Any]) -> None:
        defaults = {"task_type": "publish"} if place is Place.LEDGER else {}
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for given in rows:
                row = {_name(place, name): value for name, value in {**defaults, **given}.items()}
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {TABLES[place]} ({', '.join(row)}) VALUES ({marks})", [*row.values()])
            connection.execute("COMMIT")

    def change(self, place: Place, task_id: str | None = None, **columns: Any) -> None:
        changes = ", ".join(f"{_name(place, name)} = ?" for name in columns)
        which = f"{_name(place, 'task_id')} = ?" if task_id is not None else "?"
        statement = f"UPDATE {TABLES[place]} SET {changes} WHERE {which}"
        assert self._execute(statement, *columns.values(), True if task_id is None else task_id), "no row was changed"

    def miscount(self) -> None:
        assert self._execute("UPDATE task_counts SET tasks = tasks + 1")

    def rewrite_audit(self) -> None:
        self._execute("UPDATE audit_log SET who = 'li'")

    def empty_audit(self) -> None:
        self._execute("DELETE FROM audit_log")

    def hide_ledger(self) -> None:
        self._execute("ALTER TABLE task_queue RENAME TO hidden")

    def spoil_title(self, place: Place, task_id: str) -> None:
        statement = f"UPDATE {TABLES[place]} SET title = CAST(x'ff' AS TEXT) WHERE {_name(place, 'task_id')} = ?"
        assert self._execute(statement, task_id) == 1

    def remove(self, place: Place, task_id: str) -> None:
        assert self._execute(f"DELETE FROM {TABLES[place]} WHERE {_name(place, 'task_id')} = ?", task_id) == 1

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def activity(self) -> str:
        return ""

    def _select(self, statement: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def _execute(self, statement: str, *parameters: Any) -> int:
        with closing(self._open()) as connection:
            return int(connection.execute(statement, parameters).rowcount)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_S)


def run_sql(stack: Stack, statement: str, *parameters: Any) -> list[Any]:
    """Run a statement on a stack's file, in a transaction of its own; its rows."""
    with closing(sqlite3.connect(stack.settings.database_path, isolation_level=None, timeout=BUSY_S)) as connection:
        return connection.execute(statement, parameters).fetchall()


def _name(place: Place, name: str) -> str:
    return NAMES[place].get(name, name)
