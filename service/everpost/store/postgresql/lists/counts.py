"""The counts of tasks: adds up their changes, and compares them with the rows they count."""

from typing import Any
from uuid import uuid4

import msgspec

from everpost.store.lists.counted import Pair, drift_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database

KEY = "counts"  # in everpost_meta: each repair changes it, so that two workers do not do the same one
COUNT_S = 60.0  # for a whole count
CHANGES = 50_000  # added up in one transaction


class Drift(msgspec.Struct, frozen=True):
    """How far the counts are from the rows, in one state of the database.

    Attributes:
        token: Which repair was the last.
        by_pair: How many tasks are missing in each count; negative where there are too many.
    """

    token: str
    by_pair: dict[Pair, int]


async def find_drift(connection: Connection) -> Drift:
    """Compare the counts with the rows."""
    token = await connection.fetch_value("get_meta", key=KEY)
    there = await connection.fetch_all("count_rows")
    told = await connection.fetch_all("read_counts")
    return Drift(token or "", drift_of([tuple(row.values()) for row in there], [tuple(row.values()) for row in told]))


async def add_drift(connection: Connection, drift: Drift) -> bool:
    """Add what is missing, unless another repair came first."""
    rows: list[dict[str, Any]] = [
        {"source": source, "status": status, "platform": platform, "tasks": tasks}
        for (source, status, platform), tasks in drift.by_pair.items()
    ]
    parameters = {
        "key": KEY,
        "token": drift.token,
        "new_token": uuid4().hex,
        "rows": msgspec.json.encode(rows).decode(),
    }
    return await connection.run("repair_counts", **parameters) > 0


async def fold_counts(database: Database) -> None:
    """Add the changes to the counts: with too many changes, a number is slow to read."""
    await database.write(lambda connection: connection.run("fold_counts", limit=CHANGES))
