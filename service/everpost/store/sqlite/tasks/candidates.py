"""Tasks that a caller wants changed: where each is, its retry chain and its data."""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from everpost.store.changes import DATA_ORDER
from everpost.store.payloads import data_of_row
from everpost.store.positions import Found, candidates_of, chain_ids_of, position_of
from everpost.store.sqlite.file.connection import read
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import find_chains, find_rows, on_ids
from everpost.task.candidate import Candidate, StoredData
from everpost.task.place import Place, Position

NO_LIMIT = 1 << 62  # bytes


def find_candidates(
    connection: sqlite3.Connection, task_ids: Sequence[str], *, whole: bool = True, most_bytes: int = NO_LIMIT
) -> list[Candidate]:
    """See `everpost.store.changes.Changes.find`. Data of more than `most_bytes` is left out."""
    if not whole:
        rows = find_rows(connection, task_ids)
        return candidates_of(task_ids, {row.position.task_id: (row.position, row.size_bytes) for row in rows})
    # As a read, because a text of an inherited row may be no UTF-8.
    found, data = read(connection, partial(_find_whole, task_ids=task_ids, most_bytes=most_bytes))
    return candidates_of(task_ids, found, find_chains(connection, chain_ids_of(task_ids, found)), data)


def _find_whole(
    connection: sqlite3.Connection, *, task_ids: Sequence[str], most_bytes: int
) -> tuple[Found, dict[str, StoredData]]:
    """Where the tasks are, and the data of each from the first place with usable data."""
    found: dict[str, tuple[Position, int]] = {}
    stored: dict[Place, dict[str, StoredData | None]] = {place: {} for place in reversed(DATA_ORDER)}
    name, ids = on_ids("find_candidates", task_ids)
    # Sorted here, because SQLite would copy the data for it.
    for row in sorted(connection.execute(load(name), ids | {"most_bytes": most_bytes}), key=itemgetter(-2, -1)):
        position, size_bytes = position_of(*row[:9]), row[9] or 0
        found[position.task_id] = position, size_bytes
        data = data_of_row(position.place, row[10:-2]) if size_bytes <= most_bytes else None
        stored[position.place][position.task_id] = data
    usable: dict[str, StoredData] = {}
    for of_place in stored.values():
        usable |= {task_id: data for task_id, data in of_place.items() if data is not None}
    return found, usable
