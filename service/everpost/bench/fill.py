"""A large history, ledger and queue, made by SQL and in pipelines instead of by waiting for them."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from everpost.clock import to_text
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.migrate import migrate
from everpost.task.model import new_task_id

CHUNK = 250_000
EVERY_MS = 2_000  # between the rows' times
FIRST_MS = 1_600_000_000_000
QUEUED_AT_A_TIME = 1_000
LOOK_EVERY_S = 0.05
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

Say = Callable[[str], None]


def fill_history(path: Path, rows: int, say: Say) -> None:
    """Make a database file with so many ended tasks, one in ten of them failed; its search index is left empty.

    Blocks: call it from a thread.
    """
    with _filling(path, "publish_tasks") as connection:
        for first in range(1, rows + 1, CHUNK):
            last = min(first + CHUNK - 1, rows)
            connection.execute(HISTORY, {"first": first, "last": last, "start": FIRST_MS, "every": EVERY_MS})
            say(f"a history of {last:,} of {rows:,} rows ...")
        connection.execute(SEARCHED)


def leave_nothing_to_do(path: Path) -> None:
    """Clear away what the last measurement left to workers: tasks that nobody ran, and texts to put into the index."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM task_queue")
        connection.execute(SEARCHED)


def fill_ledger(path: Path, rows: int, data: bytes, priority: int) -> list[str]:
    """Add so many tasks that wait, all with the same data; their ids. Blocks: call it from a thread."""
    with _filling(path, "task_queue") as connection:
        numbers = {"first": 1, "last": rows, "start": FIRST_MS, "every": EVERY_MS}
        connection.execute(LEDGER, {**numbers, "data": data.decode(), "priority": priority})
        return [task_id for (task_id,) in connection.execute(IDS)]


def add_failed(path: Path, count: int, data: bytes, ended_ms: int) -> list[str]:
    """Add so many failed tasks to the history of a file in use; their ids. Blocks: call it from a thread."""
    ids = [new_task_id(ended_ms) for _ in range(count)]
    values = {"ids": msgspec.json.encode(ids).decode(), "data": data.decode(), "at": to_text(ended_ms)}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(FAILED, values)
    return ids


@contextmanager
def _filling(path: Path, table: str) -> Iterator[sqlite3.Connection]:
    """A connection to a file whose table was empty; the trigger that counts rows one by one is away meanwhile."""
    migrate(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # a file that is thrown away needs no care
        connection.execute("PRAGMA cache_size = -262144")
        trigger = connection.execute(TRIGGER, (f"{table}_counted_in",)).fetchone()[0]
        connection.execute(f"DROP TRIGGER {table}_counted_in")
        yield connection
        connection.execute(COUNT.format(table=table), (table,))
        connection.execute(trigger)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def fill_queue(redis: Redis, queue: str, ids: Sequence[str], payload: bytes, due_in_ms: int = 0) -> None:
    """Put jobs with one and the same payload into a queue of arq's."""
    due_at_ms = time.time_ns() // 1_000_000 + due_in_ms
    for start in range(0, len(ids), QUEUED_AT_A_TIME):
        some = ids[start : start + QUEUED_AT_A_TIME]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.mset({f"arq:job:{task_id}": payload for task_id in some})
            pipe.zadd(queue, dict.fromkeys(some, due_at_ms))
            await pipe.execute()


async def wait_for_rewrite(redis: Redis) -> None:
    """Wait until Redis has done what a sudden growth makes it do: writing its append-only file anew."""
    while True:
        facts = await redis.info("persistence")
        if not facts["aof_rewrite_in_progress"] and not facts["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(LOOK_EVERY_S)
