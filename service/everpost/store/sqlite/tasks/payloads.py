"""A task's data in a table: whole, or rebuilt from the single columns."""

from collections.abc import Collection

from everpost.store.changes import StoredData
from everpost.store.payloads import data_of_row
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.place import Place

_STATEMENTS = {
    Place.LEDGER: "find_payloads_ledger",
    Place.HISTORY: "find_payloads_history",
    Place.ARCHIVE: "find_payloads_archive",
}


def find_payloads(connection: sqlite3.Connection, place: Place, task_ids: Collection[str]) -> dict[str, StoredData]:
    """The data that a table has for tasks. Tasks without a platform in their data and columns are left out."""
    rows = connection.execute(load(_STATEMENTS[place]), {"task_ids": json_list(task_ids)})
    found = {task_id: data_of_row(place, row) for task_id, *row in rows}
    return {task_id: data for task_id, data in found.items() if data is not None}
