"""A large history, made by SQL in minutes instead of by waiting for it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from service.store.migrate import migrate
from service.store.sqlite import sqlite3

CHUNK = 250_000
EVERY_MS = 2_000  # between the rows' times
FIRST_MS = 1_600_000_000_000
TRIGGER = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'publish_tasks_counted_in'"
INSERT = """
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
    iif(value % 10, 'bench', 'bench-refusing'), 'account' || value % 1000, value, 'title ' || value, '["a","b"]',
    iif(value % 10, 'success', 'failed'), iif(value % 10, NULL, 'refused'), iif(value % 10, NULL, 'invalid'),
    at, at, iif(value % 10, at, NULL), at, at, at, 5,
    json_object('platform', iif(value % 10, 'bench', 'bench-refusing'), 'account_id', 'account' || value % 1000,
        'file_id', value, 'title', 'title ' || value, 'description', 'a post of ordinary size',
        'tags', json('["a","b"]')),
    json_array(json_object('number', 1, 'started_at', at, 'finished_at', at, 'outcome',
        iif(value % 10, 'success', 'failed'), 'error_class', iif(value % 10, NULL, 'invalid'), 'worker', 'w')),
    iif(value % 10, '{}', NULL)
FROM row
"""
COUNT = """
INSERT INTO task_counts SELECT 'publish_tasks', status, platform, count(*) FROM publish_tasks GROUP BY status, platform
"""
SEARCHED = "INSERT OR REPLACE INTO everpost_meta SELECT 'searched', max(task_id) FROM publish_tasks"


def fill_history(path: Path, rows: int, say: Callable[[str], None]) -> None:
    """Make a database file with so many ended tasks, one in ten of them failed; its search index is left empty.

    The trigger that counts rows one by one is away meanwhile, and they are counted at the end. Blocks: call it from a
    thread.
    """
    migrate(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # a file that is thrown away needs no care
        connection.execute("PRAGMA cache_size = -262144")
        trigger = connection.execute(TRIGGER).fetchone()[0]
        connection.execute("DROP TRIGGER publish_tasks_counted_in")
        for first in range(1, rows + 1, CHUNK):
            last = min(first + CHUNK - 1, rows)
            connection.execute(INSERT, {"first": first, "last": last, "start": FIRST_MS, "every": EVERY_MS})
            say(f"a history of {last:,} of {rows:,} rows ...")
        connection.execute(COUNT)
        connection.execute(SEARCHED)
        connection.execute(trigger)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
