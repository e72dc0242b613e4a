"""An SQLite file for the bench: filled by SQL instead of running tasks, and counted read-only."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from everpost.clock import to_text
from everpost.store.measured import Recorded, Say
from everpost.store.sqlite.library import LIBRARY, sqlite3
from everpost.store.sqlite.schema.migrate import migrate
from everpost.task.model import new_task_id

FILLED_AT_A_TIME = 250_000
ASKED_AT_A_TIME = 5_000
EVERY_MS = 2_000  # time between the rows
FIRST_MS = 1_600_000_000_000
TRIGGER = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
HISTORY = """
WITH RECURSIVE n(value) AS (SELECT :first UNION ALL SELECT value + 1 FROM n WHERE value < :last),
row AS (
    SELECT value, :start + value * :every AS ms,
        strftime('%Y-%m-%dT%H:%M:%S.000Z', (:start + value * :every) / 1000, 'unixepoch') AS at
    FROM n
)
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, status, error_message, error_class, created_at, updated_at,
    published_at, completed_at, queued_at, started_at, priority, task_data, attempts, result
)
SELECT
    printf('%012x7%s', ms, substr(lower(hex(randomblob(10))), 1, 19)),
    iif(value % 10, 'bench', 'bench-refusing'), 'account' || (value % 1000), value, 'title ' || value, '["a","b"]',
    iif(value % 10, 'success', 'failed'), iif(value % 10, NULL, 'refused'), iif(value % 10, NULL, 'invalid'),
    at, at, iif(value % 10, at, NULL), at, at, at, 5,
    json_object('platform', iif(value % 10, 'bench', 'bench-refusing'), 'account_id', 'account' || (value % 1000),
        'file_id', value, 'title', 'title ' || value, 'description', 'a post of ordinary size',
        'tags', json('["a","b"]')),
    json_array(json_object('number', 1, 'started_at', at, 'finished_at', at, 'outcome',
        iif(value % 10, 'success', 'failed'), 'error_class', iif(value % 10, NULL, 'invalid'), 'worker', 'w')),
    iif(value % 10, '{}', NULL)
FROM row
"""
LEDGER = """
WITH RECURSIVE n(value) AS (SELECT :first UNION ALL SELECT value + 1 FROM n WHERE value < :last),
row AS (
    SELECT value, :start + value * :every AS ms,
        strftime('%Y-%m-%dT%H:%M:%S.000Z', (:start + value * :every) / 1000, 'unixepoch') AS at
    FROM n
)
INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at, platform, account_id, title, accepted_by
)
SELECT
    printf('%012x7%s', ms, substr(lower(hex(randomblob(10))), 1, 19)), 'publish', :priority, 'pending', :data, at, at,
    :data ->> 'platform', :data ->> 'account_id', :data ->> 'title', 'bench'
FROM row
"""
FAILED = """
INSERT INTO publish_tasks (
    job_id, platform, account_id, title, status, error_message, error_class, created_at, updated_at, completed_at,
    priority, task_data, attempts
)
SELECT value, :data ->> 'platform', :data ->> 'account_id', :data ->> 'title', 'failed', 'refused', 'invalid', :at, :at,
    :at, 5, :data, json_array(json_object('number', 1, 'started_at', :at, 'finished_at', :at, 'outcome', 'failed',
        'error_class', 'invalid', 'worker', 'w'))
FROM json_each(:ids)
"""
COUNT = "INSERT INTO task_counts SELECT ?, status, platform, count(*) FROM {table} GROUP BY status, platform"
SEARCHED = "INSERT OR REPLACE INTO everpost_meta SELECT 'searched', max(task_id) FROM publish_tasks"
IDS = "SELECT task_id FROM task_queue ORDER BY id"
RECORDED = """
SELECT count(*), count(DISTINCT job_id), ifnull(sum(json_array_length(attempts)), 0)
FROM json_each(:ids) CROSS JOIN publish_tasks ON job_id = value WHERE status = :status
"""
FIRST_ATTEMPTS = """
SELECT attempts ->> '$[0].started_at', attempts ->> '$[0].finished_at'
FROM json_each(:ids) CROSS JOIN publish_tasks ON job_id = value
"""
QUEUED = "SELECT count(*) FROM json_each(:ids) CROSS JOIN task_queue ON task_id = value"
ENDED = """
SELECT ifnull(sum(tasks), 0) FROM task_counts
WHERE source = 'publish_tasks' AND status = :status AND platform = :platform
"""
WAITING = "SELECT ifnull(sum(tasks), 0) FROM task_counts WHERE source = 'task_queue' AND platform = ?"
IS_RECORDED = "SELECT 1 FROM publish_tasks WHERE job_id = ?"
RELAYED = "SELECT 1 FROM everpost_meta WHERE key = 'epoch'"
RETRIES = "SELECT count(DISTINCT retry_of), count(*) FROM task_queue WHERE batch_id = ?"
DONE = "SELECT 1 FROM operations WHERE operation_id = ? AND status = 'done'"


class SqliteLook:
    """See `everpost.store.measured.Look`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def count_ended(self, platform: str, status: str) -> int:
        """See `Look`."""
        return int(self._row(ENDED, {"platform": platform, "status": status})[0])

    def count_waiting(self, platform: str) -> int:
        """See `Look`."""
        return int(self._row(WAITING, (platform,))[0])

    def count_queued(self, task_ids: Sequence[str]) -> int:
        """See `Look`."""
        return sum(self._row(QUEUED, {"ids": ids})[0] for ids in _portions(task_ids))

    def recorded(self, task_ids: Sequence[str], status: str) -> Recorded:
        """See `Look`."""
        found = [self._row(RECORDED, {"ids": ids, "status": status}) for ids in _portions(task_ids)]
        rows, tasks, attempts = (sum(numbers) for numbers in zip((0, 0, 0), *found, strict=True))
        return Recorded(rows, tasks, attempts)

    def is_recorded(self, task_id: str) -> bool:
        """See `Look`."""
        return self._has(IS_RECORDED, task_id)

    def first_attempts(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        """See `Look`."""
        portions = _portions(task_ids)
        return [row for ids in portions for row in self._connection.execute(FIRST_ATTEMPTS, {"ids": ids})]

    def has_relayed(self) -> bool:
        """See `Look`."""
        return self._has(RELAYED)

    def retries_of(self, batch_id: str) -> tuple[int, int]:
        """See `Look`."""
        retried, waiting = self._row(RETRIES, (batch_id,))
        return retried, waiting

    def is_done(self, operation_id: str) -> bool:
        """See `Look`."""
        return self._has(DONE, operation_id)

    def count_lock_waits(self) -> int:
        """See `Look`."""
        return 0

    def counters(self) -> None:
        """See `Look`."""

    def _row(self, statement: str, parameters: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(statement, parameters).fetchone()
        return row

    def _has(self, statement: str, *parameters: str) -> bool:
        return self._connection.execute(statement, parameters).fetchone() is not None


class SqliteMeasured:
    """See `everpost.store.measured.MeasuredStore`."""

    name = "sqlite"
    version = LIBRARY

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill_history(self, rows: int, say: Say) -> None:
        """See `MeasuredStore`."""
        with self._filling("publish_tasks") as connection:
            for first in range(1, rows + 1, FILLED_AT_A_TIME):
                last = min(first + FILLED_AT_A_TIME - 1, rows)
                connection.execute(HISTORY, {"first": first, "last": last, "start": FIRST_MS, "every": EVERY_MS})
                say(f"a history of {last:,} of {rows:,} rows ...")
            connection.execute(SEARCHED)

    def fill_ledger(self, rows: int, data: bytes, priority: int) -> list[str]:
        """See `MeasuredStore`."""
        with self._filling("task_queue") as connection:
            numbers = {"first": 1, "last": rows, "start": FIRST_MS, "every": EVERY_MS}
            connection.execute(LEDGER, {**numbers, "data": data.decode(), "priority": priority})
            return [task_id for (task_id,) in connection.execute(IDS)]

    def add_failed(self, count: int, data: bytes, ended_ms: int) -> list[str]:
        """See `MeasuredStore`."""
        ids = [new_task_id(ended_ms) for _ in range(count)]
        values = {"ids": msgspec.json.encode(ids).decode(), "data": data.decode(), "at": to_text(ended_ms)}
        with self._connected() as connection:
            connection.execute(FAILED, values)
        return ids

    def leave_nothing_to_do(self) -> None:
        """See `MeasuredStore`."""
        with self._connected() as connection:
            connection.execute("DELETE FROM task_queue")
            connection.execute(SEARCHED)

    def server_pid(self) -> None:
        """See `MeasuredStore`."""

    @contextmanager
    def look(self) -> Iterator[SqliteLook]:
        """See `MeasuredStore`."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            yield SqliteLook(connection)

    def _connected(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._path, isolation_level=None))

    @contextmanager
    def _filling(self, table: str) -> Iterator[sqlite3.Connection]:
        """A connection to a file whose table is empty, without the trigger that counts rows one by one."""
        migrate(self._path)
        with self._connected() as connection:
            connection.execute("PRAGMA synchronous = OFF")  # a file that will be thrown away needs no flushes
            connection.execute("PRAGMA cache_size = -262144")
            trigger = connection.execute(TRIGGER, (f"{table}_counted_in",)).fetchone()[0]
            connection.execute(f"DROP TRIGGER {table}_counted_in")
            yield connection
            connection.execute(COUNT.format(table=table), (table,))
            connection.execute(trigger)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _portions(task_ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(task_ids), ASKED_AT_A_TIME):
        yield msgspec.json.encode(task_ids[start : start + ASKED_AT_A_TIME]).decode()
