"""Where tasks are, and the other tasks of their retry chains: one statement for any number of them."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.model import HELD
from everpost.task.place import Place, Position

Chains = Mapping[str, Sequence[Position]]
"""All tasks of each chain; without empty chains."""


def find_positions(connection: sqlite3.Connection, task_ids: Collection[str]) -> dict[str, Position]:
    """Where each task is: the ledger before the history before the archive. Tasks that no table has are left out."""
    return {position.task_id: position for _, position in find_rows(connection, task_ids)}


def find_rows(connection: sqlite3.Connection, task_ids: Collection[str]) -> list[tuple[int, Position]]:
    """Every row that a table has of the tasks, by its number; of the rows with one id, the last counts."""
    rows = connection.execute(load("find_positions"), {"task_ids": json_list(task_ids)})
    return [
        (
            row,
            Position(
                task_id=task_id,
                place=Place(place),
                status=status or "",
                chain_id=chain_id or task_id,
                generation=generation or 0,
                inherited=place == Place.LEDGER and accepted_by is None,
                sending=sending is not None,
                held=sending == HELD,
            ),
        )
        for task_id, place, status, chain_id, generation, accepted_by, sending, _, row in rows
    ]


def find_chains(connection: sqlite3.Connection, tasks: Collection[Position]) -> Chains:
    """The retry chains of the tasks."""
    chains: dict[str, list[Position]] = {}
    chain_ids = json_list({task.chain_id for task in tasks})
    for chain_id, task_id, status, generation, place in connection.execute(
        load("find_chains"), {"chain_ids": chain_ids}
    ):
        position = Position(
            task_id=task_id, place=Place(place), status=status or "", chain_id=chain_id, generation=generation or 0
        )
        chains.setdefault(chain_id, []).append(position)
    return chains


def relatives_of(task: Position, chains: Chains) -> list[Position]:
    """The other tasks of its chain. If the task has ended, rows with its id are among them: there may be several."""
    chain = chains.get(task.chain_id, ())
    return [other for other in chain if other.task_id != task.task_id or other.place is not Place.LEDGER]


def json_list(task_ids: Collection[str]) -> str:
    """The ids as statements take them."""
    return msgspec.json.encode(list(task_ids)).decode()
