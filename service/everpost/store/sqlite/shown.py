"""An SQLite file as the demonstration shows it: an original file, and the SQL that its owners have always used."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from everpost.store.shown import ORIGINAL_TASK, ShownRows
from everpost.store.sqlite.library import sqlite3

ORIGINAL_TABLE = """
CREATE TABLE publish_tasks (
    task_id INTEGER PRIMARY KEY AUTOINCREMENT, celery_task_id TEXT, plan_id TEXT, package_id INTEGER, platform TEXT,
    account_id TEXT, material_id TEXT, title TEXT, tags TEXT, cover TEXT, schedule_time DATETIME,
    publish_mode TEXT DEFAULT 'auto', status TEXT DEFAULT 'pending', external_user_id TEXT, external_account_id TEXT,
    result_metrics TEXT, error_message TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP, published_at DATETIME
)
"""
ORIGINAL_ROW = """
INSERT INTO publish_tasks
    (celery_task_id, platform, account_id, material_id, title, tags, status, error_message, created_at)
VALUES (?, '1', 'old_account', '77', '旧任务', '["旧"]', 'failed', 'cookie expired', '2025-11-03 09:30:00')
"""
ROW = "SELECT * FROM publish_tasks WHERE celery_task_id = ?"
SINGLE_TASKS = """
SELECT celery_task_id, platform, status, priority, retry_of, title, error_class
FROM publish_tasks WHERE platform <> 'bilibili' ORDER BY task_id
"""
COUNTS = "SELECT platform, status, count(*) AS tasks FROM publish_tasks GROUP BY platform, status"
IN_TWO_TABLES = """
SELECT job_id, count(*) FROM (
    SELECT task_id AS job_id FROM task_queue
    UNION ALL SELECT job_id FROM publish_tasks
    UNION ALL SELECT job_id FROM publish_tasks_archive
) GROUP BY job_id HAVING count(*) > 1
"""
UNFINISHED = "SELECT task_id FROM task_queue"
DAMAGE = "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'"


class SqliteShown:
    """See `everpost.store.shown.ShownStore`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write_original(self) -> None:
        """See `ShownStore`."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute(ORIGINAL_TABLE)
            connection.execute(ORIGINAL_ROW, (ORIGINAL_TASK,))
            connection.commit()

    def row(self, task_id: str) -> Mapping[str, Any]:
        """See `ShownStore`."""
        found = self._select(ROW, task_id)
        return dict(zip(found.columns, found.rows[0], strict=True))

    def ask(self) -> Sequence[ShownRows]:
        """See `ShownStore`."""
        return [self._select(SINGLE_TASKS), self._select(COUNTS)]

    def find_faults(self) -> Sequence[str]:
        """See `ShownStore`."""
        questions = {"in two tables": IN_TWO_TABLES, "unfinished": UNFINISHED, "damaged": DAMAGE}
        return [f"{name}: {row[0]}" for name, question in questions.items() for row in self._select(question).rows]

    def _select(self, statement: str, *parameters: str) -> ShownRows:
        """The rows of a SELECT, read by a connection of its own."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            found = connection.execute(statement, parameters)
            columns = [column[0] for column in found.description]
            return ShownRows(" ".join(statement.split()), columns, found.fetchall())
