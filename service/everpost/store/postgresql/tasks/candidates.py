"""Tasks that a caller wants changed: where each is, its retry chain and its data."""

from collections.abc import Collection, Sequence

from everpost.store.changes import DATA_ORDER
from everpost.store.payloads import data_of_row
from everpost.store.positions import Found, candidates_of, chain_ids_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.tasks.positions import Row, find_chains, find_rows, lock_chains
from everpost.task.candidate import LARGEST_LOCKED, Candidate, StoredData
from everpost.task.place import Place


async def find_candidates(connection: Connection, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
    """See `everpost.store.changes.Changes.find`."""
    rows = await find_rows(connection, task_ids)
    found = _found_in(rows)
    if not whole:
        return candidates_of(task_ids, found)
    chains = await find_chains(connection, chain_ids_of(task_ids, found))
    return candidates_of(task_ids, found, chains, await _find_data(connection, rows))


async def lock_candidates(connection: Connection, task_ids: Sequence[str]) -> list[Candidate]:
    """The tasks, locked until the transaction ends. Data of more than `LARGEST_LOCKED` bytes is left out."""
    locked = await lock_chains(connection, task_ids)
    small = [row for row in locked.rows if row.size_bytes <= LARGEST_LOCKED]
    data = await _find_data(connection, small)
    return candidates_of(task_ids, _found_in(locked.rows), locked.chains, data)


def _found_in(rows: Sequence[Row]) -> Found:
    return {row.position.task_id: (row.position, row.size_bytes) for row in rows}


async def _find_data(connection: Connection, rows: Sequence[Row]) -> dict[str, StoredData]:
    """The data of rows, from the first usable one of each task."""
    data: dict[str, StoredData] = {}
    for place in DATA_ORDER:
        left = {row.position.task_id for row in rows if row.position.place is place} - data.keys()
        if left:
            data |= await _find_payloads(connection, place, left)
    return data


async def _find_payloads(connection: Connection, place: Place, task_ids: Collection[str]) -> dict[str, StoredData]:
    found = {}
    for row in await connection.fetch_all(f"find_payloads_{place}", task_ids=list(task_ids)):
        task_id, task_data, *columns = row.values()
        found[task_id] = data_of_row(place, [None if task_data is None else task_data.encode(), *columns])
    return {task_id: data for task_id, data in found.items() if data is not None}
