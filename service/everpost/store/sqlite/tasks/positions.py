"""Where tasks are, and the other tasks of their retry chains: one statement for any number of them."""

from collections.abc import Collection
from typing import Any

import msgspec

from everpost.store.positions import Chains, chains_of, position_of
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.place import Position


class Row(msgspec.Struct, frozen=True):
    """A row that a table has of a task: its number, and the size of the task's data."""

    position: Position
    number: int
    size_bytes: int


def find_positions(connection: sqlite3.Connection, task_ids: Collection[str]) -> dict[str, Position]:
    """Where each task is: the ledger before the history before the archive. Tasks that no table has are left out."""
    return {row.position.task_id: row.position for row in find_rows(connection, task_ids)}


def find_rows(connection: sqlite3.Connection, task_ids: Collection[str]) -> list[Row]:
    """Every row that a table has of the tasks; of the rows with one id, the last counts."""
    rows = connection.execute(load("find_positions"), {"task_ids": json_list(task_ids)})
    return [Row(position_of(*columns), row, size_bytes or 0) for *columns, size_bytes, _, row in rows]


def find_chains(connection: sqlite3.Connection, chain_ids: Collection[str]) -> Chains:
    """The retry chains with these ids."""
    name, ids = on_ids("find_chains", chain_ids)
    return chains_of(
        position_of(task_id, place, status, chain_id, generation, accepted_by="", calls_back=calls_back)
        for chain_id, task_id, status, generation, place, calls_back in connection.execute(load(name), ids)
    )


def on_ids(name: str, ids: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The name of a statement on `{ids}` for so many, and the ids as its parameters."""
    if len(ids) == 1:
        (only,) = ids
        return f"{name}_of_one", {"id": only}
    return name, {"ids": json_list(ids)}


def json_list(task_ids: Collection[str]) -> str:
    """The ids as statements take them."""
    return msgspec.json.encode(list(task_ids)).decode()
