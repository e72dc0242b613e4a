"""Where tasks and their retry chains are; and their locks, under which rules decide.

Every change of people first locks the chains of its tasks, in the order of their ids. So of two changes of one chain
the second sees what the first has done, even if it adds a task. A chain's lock is that of its first task's id, which
`ends` and `claims` take for a task that is in no table. Then the rows are locked, so that workers cannot change them,
those of the ledger before those of ended tasks: a task that ends meanwhile is found there.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from everpost.store.positions import Chains, chains_of, position_of
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.texts import storable
from everpost.task.place import Position


class Row(msgspec.Struct, frozen=True):
    """A row that a table has of a task, and the size of the task's data."""

    position: Position
    size_bytes: int


class Locked(msgspec.Struct, frozen=True):
    """Tasks that no other transaction changes until this one ends.

    Attributes:
        rows: Every row of the tasks; of several with one id, the last counts.
        chains: Empty if they were not asked for.
    """

    rows: Sequence[Row]
    chains: Chains

    @property
    def positions(self) -> dict[str, Position]:
        """Where each task is; tasks that no table has are left out."""
        return {row.position.task_id: row.position for row in self.rows}


async def find_rows(connection: Connection, task_ids: Collection[str]) -> list[Row]:
    """Every row that a table has of the tasks at one moment; of several with one id, the last counts."""
    return await _rows_of(connection, "find_rows", _storable(task_ids), ())


async def find_chains(connection: Connection, chain_ids: Collection[str]) -> Chains:
    """The retry chains with these ids at one moment."""
    return _chains_of(await _rows_of(connection, "find_rows", (), _storable(chain_ids)))


async def lock_tasks(connection: Connection, task_ids: Collection[str]) -> Locked:
    """Lock tasks, and those ids that no table has, so that none of them comes into being meanwhile."""
    return await _lock(connection, task_ids, with_chains=False)


async def lock_chains(connection: Connection, task_ids: Collection[str]) -> Locked:
    """Lock tasks with their chains; a task that no table has counts as the first one of its chain."""
    return await _lock(connection, task_ids, with_chains=True)


async def _lock(connection: Connection, wanted: Collection[str], *, with_chains: bool) -> Locked:
    task_ids = _storable(wanted)
    if not task_ids:
        return Locked((), {})
    asked = frozenset(task_ids)
    while True:
        locked = await connection.fetch_all("lock_chains", task_ids=task_ids)
        chain_ids = [row["chain_id"] for row in locked]
        # First the ledger's: a task that ends meanwhile is then found among the ended ones.
        chains = chain_ids if with_chains else ()
        unfinished = await _rows_of(connection, "lock_ledger_rows", task_ids, chains)
        rows = await _rows_of(connection, "lock_ended_rows", task_ids, chains) + unfinished
        of_tasks = [row for row in rows if row.position.task_id in asked]
        if {row.position.chain_id for row in of_tasks}.issubset(chain_ids):  # else a task came into being meanwhile
            return Locked(of_tasks, _chains_of(rows) if with_chains else {})


async def _rows_of(
    connection: Connection, statement: str, task_ids: Sequence[str], chain_ids: Sequence[str]
) -> list[Row]:
    rows = await connection.fetch_all(statement, task_ids=task_ids, chain_ids=chain_ids)
    return [Row(_position(row), row["size_bytes"] or 0) for row in rows]


def _chains_of(rows: Iterable[Row]) -> Chains:
    """The rows by their chains; the inherited rows of an original file's queue are in none."""
    return chains_of(row.position for row in rows if not row.position.inherited)


def _position(row: Record) -> Position:
    return position_of(**{name: value for name, value in row.items() if name not in {"row", "size_bytes"}})


def _storable(ids: Collection[str]) -> list[str]:
    """Those of the ids that a table can have."""
    return [task_id for task_id in ids if storable(task_id) == task_id]
