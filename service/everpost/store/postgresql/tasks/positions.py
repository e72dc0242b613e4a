"""Where tasks and their retry chains are; and their locks, under which rules decide.

Every change of people first locks the chains of its tasks, in the order of their ids. So of two changes of one chain
the second sees what the first has done, even if it adds a task. A chain's lock is that of its first task's id, which
`ends` and `claims` take for a task that is in no table. Then the rows are locked, so that workers cannot change them,
those of the ledger before those of ended tasks: a task that ends meanwhile is found there.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from everpost.store.positions import Chains, chains_of, position_of
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.texts import storable
from everpost.task.place import Position


class Locked(msgspec.Struct, frozen=True):
    """Tasks that no other transaction changes until this one ends.

    Attributes:
        rows: Every row of the tasks; of several with one id, the last counts.
        chains: Empty if they were not asked for.
    """

    rows: Sequence[Position]
    chains: Chains

    @property
    def positions(self) -> dict[str, Position]:
        """Where each task is; tasks that no table has are left out."""
        return {row.task_id: row for row in self.rows}


async def find_positions(connection: Connection, task_ids: Collection[str]) -> dict[str, tuple[Position, int]]:
    """Where each task is at one moment, and the size of its data; tasks that no table has are left out."""
    rows = await connection.fetch_all("find_rows", task_ids=_storable(task_ids), chain_ids=[])
    return {row["task_id"]: (_position(row), row["size_bytes"] or 0) for row in rows}


async def find_chains(connection: Connection, tasks: Collection[Position]) -> Chains:
    """The retry chains of the tasks at one moment."""
    chain_ids = list({task.chain_id for task in tasks})
    return chains_of(map(_position, await connection.fetch_all("find_rows", task_ids=[], chain_ids=chain_ids)))


async def lock_tasks(connection: Connection, task_ids: Collection[str]) -> Locked:
    """Lock tasks, and those ids that no table has, so that none of them comes into being meanwhile."""
    return await _lock(connection, {task_id: task_id for task_id in task_ids}, with_chains=False)


async def lock_chains(connection: Connection, chain_ids: Mapping[str, str]) -> Locked:
    """Lock tasks with their chains; the chain's id is given for each, in case that no table has the task."""
    return await _lock(connection, chain_ids, with_chains=True)


async def _lock(connection: Connection, chains: Mapping[str, str], *, with_chains: bool) -> Locked:
    task_ids = _storable(chains)
    if not task_ids:
        return Locked((), {})
    asked, fallback = frozenset(task_ids), [storable(chains[task_id]) for task_id in task_ids]
    while True:
        locked = await connection.fetch_all("lock_chains", task_ids=task_ids, chain_ids=fallback)
        chain_ids = [row["chain_id"] for row in locked]
        rows = await _lock_rows(connection, task_ids, chain_ids if with_chains else ())
        of_tasks = [row for row in rows if row.task_id in asked]
        if {row.chain_id for row in of_tasks}.issubset(chain_ids):  # else a task came into being meanwhile
            return Locked(of_tasks, chains_of(row for row in rows if not row.inherited) if with_chains else {})


async def _lock_rows(connection: Connection, task_ids: Sequence[str], chain_ids: Sequence[str]) -> list[Position]:
    unfinished = await connection.fetch_all("lock_ledger_rows", task_ids=task_ids, chain_ids=chain_ids)
    ended = await connection.fetch_all("lock_ended_rows", task_ids=task_ids, chain_ids=chain_ids)
    return [_position(row) for row in (*ended, *unfinished)]


def _position(row: Record) -> Position:
    return position_of(**{name: value for name, value in row.items() if name not in {"row", "size_bytes"}})


def _storable(ids: Collection[str]) -> list[str]:
    """Those of the ids that a table can have."""
    return [task_id for task_id in ids if storable(task_id) == task_id]
