"""A task of a list: its columns in each table, and how a row becomes a `TaskRow`."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.filters import ID_COLUMN, column
from everpost.store.sqlite.tables import TABLES
from everpost.task.place import Place

_LEDGER_COLUMNS = ", ".join(column(Place.LEDGER, name) for name in ("platform", "account_id", "title"))
_ATTEMPTS = (
    "CASE WHEN NOT ifnull(json_valid(attempts), 0) THEN 0 WHEN attempts NOT LIKE '%\"omitted\":%' "
    "THEN json_array_length(attempts) ELSE (SELECT sum(1 + CASE type WHEN 'object' "
    "THEN CAST(ifnull(value ->> 'omitted', 0) AS INTEGER) ELSE 0 END) FROM json_each(attempts)) END"
)
_EVIDENCE = (
    "CASE WHEN status = 'unknown' AND json_valid(attempts) THEN (SELECT value ->> 'evidence' FROM json_each(attempts) "
    "WHERE value ->> 'evidence' IS NOT NULL ORDER BY key DESC LIMIT 1) END"
)
ROW = {
    Place.HISTORY: (
        "job_id AS task_id, 'history' AS place, 0 AS inherited, status, platform, account_id, title, priority, "
        "created_at, updated_at, NULL AS due_at, started_at, completed_at, error_class, error_message, retry_of, "
        f"batch_id, {_ATTEMPTS} AS attempts, provider_post_id, publish_url, {_EVIDENCE} AS evidence, submitted_by"
    ),
    Place.LEDGER: (
        f"task_id, 'ledger', accepted_by IS NULL, status, {_LEDGER_COLUMNS}, "
        "priority, created_at, updated_at, due_at, started_at, completed_at, NULL, error_message, retry_of, "
        f"batch_id, {_ATTEMPTS}, NULL, NULL, NULL, submitted_by"
    ),
}
"""The columns of `TaskRow`, in its order."""

FIND_ROWS = " UNION ALL ".join(
    f"SELECT {ROW[place]} FROM {TABLES[place]} WHERE {ID_COLUMN[place]} IN (SELECT value FROM json_each(:task_ids))"  # noqa: S608 - made of texts of this package only
    for place in (Place.LEDGER, Place.HISTORY)
)
"""The rows of tasks, in the ledger first: the statement of `find_rows`."""

KEY_ALONE = dict.fromkeys(ROW, "1 AS one")
"""No columns: each search adds the key."""


def find_rows(connection: sqlite3.Connection, task_ids: Sequence[str]) -> list[Any]:
    """The rows of these tasks, each with the columns of `TaskRow`; one for each id."""
    asked = {"task_ids": msgspec.json.encode(task_ids).decode()}
    found: dict[str, Any] = {}
    for row in connection.execute(FIND_ROWS, asked):
        found.setdefault(row[0], row)
    return [*found.values()]
