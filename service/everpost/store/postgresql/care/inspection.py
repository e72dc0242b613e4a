"""The checks of `everpost doctor` in PostgreSQL. They change nothing."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from everpost.clock import DAY_MS, to_text
from everpost.store.maintenance import Contents, Depth, OldestDue
from everpost.store.moving import Table
from everpost.store.pause import KEY, read_pause
from everpost.store.postgresql.care.meta import get_value
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.lists.counts import find_drift
from everpost.store.postgresql.schema.migrate import find_applied, refusal_of

LONG_S = 300  # a transaction that is open for longer keeps dead rows in the tables
MANY_TRANSACTIONS = 10_000_000  # the same for a replication slot without a reader
HOT = ["idempotency_keys", "publish_tasks_unsearched", "task_count_changes", "task_queue"]
TABLES = ["everpost_schema", *(str(table) for table in Table), *HOT[1:3], "publish_tasks_search", "task_counts"]


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What `server_facts.sql` tells.

    Attributes:
        connections: How many this user may have, with those of all other users.
        sees_others: This user has the rights of pg_monitor.
        sees_system: This user may read the system identifier.
        may_create: This user may create tables.
        now_ms: The server's clock.
    """

    version_number: int
    version: str
    user_name: str
    fsync: str
    full_page_writes: str
    autovacuum: str
    encoding: str
    size_bytes: int
    oldest_xid_age: int
    connections: int
    connections_used: int
    sees_others: bool
    sees_system: bool
    may_create: bool
    now_ms: int


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """The server as `everpost doctor` sees it.

    Attributes:
        ahead_ms: How far its clock is ahead of this host's.
        version: The number of migrations that were applied; None if there are no tables.
        refusal: Why this code cannot serve the tables; empty if it can, perhaps after a migration.
        lacking_rights: The tables that this user may not read and write.
        holders: What keeps dead rows from being removed.
        dead_rows: The tables whose rows come and go.
        strangers: Triggers and rules that Everpost did not make.
        has_next_month: Whether the history has a partition for tasks of tomorrow.
    """

    facts: ServerFacts
    ahead_ms: float
    version: int | None
    refusal: str
    lacking_rights: list[str]
    synchronous_names: str
    standbys: list[Record]
    holders: list[Record]
    dead_rows: list[Record]
    strangers: list[str]
    has_next_month: bool


async def find_state(connection: Connection) -> ServerState:
    """Look at the server, and at the tables if there are any."""
    before = time.time()
    facts = msgspec.convert(await connection.fetch_one("server_facts"), ServerFacts)
    here_ms = (before + time.time()) / 2 * 1000
    lacking_rights = await _names(connection, "table_rights", "name", tables=TABLES)
    applied = None if lacking_rights else await find_applied(connection)
    version = None if applied is None else len(applied)
    tomorrow = datetime.fromtimestamp((facts.now_ms + DAY_MS) / 1000, UTC).date()
    return ServerState(
        facts=facts,
        ahead_ms=facts.now_ms - here_ms,
        version=version,
        refusal=refusal_of(applied or []),
        lacking_rights=lacking_rights,
        synchronous_names=await connection.fetch_value("synchronous_names"),
        standbys=await connection.fetch_all("standbys"),
        holders=await connection.fetch_all("vacuum_holders", seconds=LONG_S, transactions=MANY_TRANSACTIONS),
        dead_rows=await connection.fetch_all("dead_rows", tables=HOT),
        strangers=await _names(connection, "strangers", "what", tables=TABLES),
        has_next_month=version is None or await connection.fetch_value("has_month", month=tomorrow),
    )


async def inspect_contents(connection: Connection, now_ms: int, depth: Depth) -> Contents:
    """Look at the tasks."""
    is_deep = depth is not Depth.FAST
    statuses: dict[str, int] = {}
    for row in await connection.fetch_all("count_tasks"):
        statuses[row["status"]] = statuses.get(row["status"], 0) + row["tasks"]
    oldest = await connection.fetch_one("find_oldest_due", now=to_text(now_ms))
    return Contents(
        statuses=statuses,
        oldest_due=None if oldest is None else OldestDue(**oldest),
        unreadable=await connection.fetch_value("count_unreadable"),
        published_twice=await connection.fetch_value("count_published_twice"),
        wrong_counts=len((await find_drift(connection)).by_pair) if is_deep else None,
        in_two_places=await _names(connection, "find_in_two_tables", "task_id") if is_deep else None,
        pause=read_pause(await get_value(connection, KEY)),
    )


async def _names(connection: Connection, statement: str, column: str, **parameters: Sequence[Any]) -> list[str]:
    return [str(row[column]) for row in await connection.fetch_all(statement, **parameters)]
