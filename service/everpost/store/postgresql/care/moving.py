"""A PostgreSQL database as one end of a move; see `everpost.store.moving`."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import msgspec

from everpost.database_address import PostgresqlAddress
from everpost.errors import DatabaseUnusable
from everpost.store.failures import WHOLE
from everpost.store.fitting import fit_values, refusal_of
from everpost.store.meta import LEADER, MOVE
from everpost.store.moving import (
    BYTES,
    COLUMNS,
    NUMBERS,
    REALS,
    Fitted,
    Mark,
    Portion,
    Role,
    Row,
    Table,
    Value,
    check_mark,
    check_open,
    not_empty,
    read_mark,
    write_mark,
)
from everpost.store.postgresql.care.care import add_month
from everpost.store.postgresql.care.lineage import KEY as LINEAGE
from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.lists.counts import KEY as COUNTS
from everpost.store.postgresql.schema.migrate import bring_up
from everpost.store.timeline import LAST

MOST_BYTES = 8 << 20  # of one portion
READ_S = 600.0  # for a count of all rows, or a portion

KEYS: Mapping[Table, tuple[str, ...]] = MappingProxyType(
    {
        Table.ARCHIVE: ("archived_row",),
        Table.HISTORY: ("job_id",),
        Table.LEDGER: ("task_id",),
        Table.DECISIONS: ("decision_id",),
        Table.EDITS: ("edit_id",),
        Table.TRACES: ("task_id",),
        Table.RECURRING: ("recurrence_id",),
        Table.KEYS: ("key",),
        Table.BATCHES: ("batch_id",),
        Table.RECENT: ("digest", "task_id"),
        Table.OPERATIONS: ("operation_id",),
        Table.SKIPS: ("operation_id", "task_id"),
        Table.DONE: ("operation_id", "task_id"),
        Table.LIMITS: ("scope",),
        Table.USES: ("used_at", "task_id"),
        Table.CLOSURES: ("scope",),
        Table.FILES: ("id",),
        Table.FILE_ROOTS: ("name",),
        Table.UPLOADS: ("file_id",),
        Table.FILE_USES: ("file_id", "task_id"),
        Table.ACCOUNTS: ("platform", "account_id"),
        Table.API_KEYS: ("key_id",),
        Table.SESSIONS: ("digest",),
        Table.AUDIT: ("audit_id",),
        Table.META: ("key",),
    }
)
"""The primary keys: the order of the rows."""

LARGE: Mapping[Table, str] = MappingProxyType(
    {
        Table.ARCHIVE: "task_data",
        Table.HISTORY: "task_data",
        Table.LEDGER: "data",
        Table.EDITS: "patch || before",
        Table.RECURRING: "task_data",
        Table.KEYS: "answer",
        Table.BATCHES: "items",
        Table.OPERATIONS: "request",
    }
)
"""The column that can be large, or a text of several."""

OWN_VALUES = [
    MOVE,
    COUNTS,
    LINEAGE,
    LEADER,
    WHOLE,
    LAST,
]  # the values in everpost_meta that are about this database only

SMALL_NUMBERS = frozenset(
    {"priority", "generation", "retry_count", "max_retries", "sending", "checkpoint_attempt"}
)  # of 32 bits
INDEXED = frozenset({"job_id", "task_id", "platform", "account_id", "retry_of", "root_id", "batch_id", "error_class"})
MOST_INDEXED = 2_400  # bytes of these columns together: an index of PostgreSQL takes 2,704

UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")
MONTHLY = ("018cc251f400", "03")  # ids from 2024 on have partitions by month, see schema/0002_history.sql


class PostgresqlMoved:
    """See `everpost.store.moving.MovedStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._months: set[date] = set()
        self.name = database.address.shown

    @classmethod
    async def open(cls, address: PostgresqlAddress) -> Self:
        """Connect, and bring the tables up to date.

        Raises:
            DatabaseUnusable: Another process of Everpost is connected.
        """
        database = await Database.open(address)
        try:
            await database.read(_check_alone)
            await bring_up(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """See `MovedStore`."""
        await self._database.close()

    async def mark(self) -> Mark | None:
        """See `MovedStore`."""
        return await self._database.read(_mark)

    async def set_mark(self, before: Mark | None, after: Mark | None) -> None:
        """See `MovedStore`. Triggers refuse the writes of processes that had the database open before."""

        async def replace(connection: Connection) -> None:
            await self._replace_mark(connection, before, after)
            if after is None:
                await connection.run_script("open_tables")
            elif after.role is Role.SOURCE:
                await connection.run_script("close_tables")

        await self._database.write(replace, statement_s=None)

    async def check_new(self) -> None:
        """See `MovedStore`."""
        await self._database.read(self._check_new, within_s=READ_S)

    async def begin(self, mark: Mark) -> None:
        """See `MovedStore`."""

        async def begin(connection: Connection) -> None:
            await connection.fetch_value("lock_ids", task_ids=[MOVE])
            await self._check_new(connection)
            await connection.run("forget_values", kept=OWN_VALUES)
            await set_value(connection, MOVE, write_mark(mark))

        await self._database.write(begin, statement_s=None)

    async def count(self, table: Table) -> int:
        """See `MovedStore`."""
        return await self._database.read(partial(_count, table=table), within_s=READ_S)

    async def portion(self, table: Table, cursor: str | None, limit: int) -> Portion:
        """See `MovedStore`.

        Rows of the history without an id come behind all others, in the order of their places. Months of the archive,
        whose rows have all the same `archived_row`, come before its other rows.
        """
        kind, *after = ["", ""] if cursor is None else msgspec.json.decode(cursor, type=list[str])
        if table is Table.ARCHIVE and kind in {"", "month"}:
            month, task_id = after if kind else ("", "")
            if (portion := await self._portion_of_months(month, task_id, limit)).rows:
                return portion
            cursor = None
        if kind != "place":
            found = await self._read(_select(table, is_first=cursor is None), table, after, limit)
            if found or table is not Table.HISTORY:
                return _portion(table, found, "id")
            after = ["(0,0)"]
        return _portion(table, await self._read(WITHOUT_ID, table, after, limit), "place")

    async def _portion_of_months(self, month: str, task_id: str, limit: int) -> Portion:
        """The next rows of archived months, after this task of this month; none at the end."""
        for name in [name for name in await self._database.read(_archived_months) if name >= month]:
            after = [task_id if name == month else ""]
            found = await self._read(_page_of(Table.ARCHIVE, *BY_ID, name), Table.ARCHIVE, after, limit)
            if found:
                return _portion(Table.ARCHIVE, found, "month", name)
        return Portion([], None)

    async def _read(self, statement: str, table: Table, after: Sequence[str], limit: int) -> list[Record]:
        parameters: dict[str, Any] = {"limit": limit, "most": MOST_BYTES}
        if ":after0" in statement:
            parameters |= {f"after{number}": value for number, value in enumerate(after)}
        if table is Table.META:
            parameters["own"] = OWN_VALUES
        return await self._database.read(
            lambda connection: connection.fetch_all(Sql(statement), **parameters), within_s=READ_S
        )

    def fit(self, table: Table, row: Row) -> Fitted:
        """See `MovedStore`."""
        if refusal := refusal_of(table, row):
            return Fitted(None, (refusal,))
        fitted = fit_values(table, row.values, has_nul=False, small=SMALL_NUMBERS)
        pairs = zip(COLUMNS[table], fitted.values or (), strict=True)
        indexed = sum(len(value.encode()) for column, value in pairs if column in INDEXED and isinstance(value, str))
        if indexed > MOST_INDEXED:
            return Fitted(None, ("its ids and names are too long for PostgreSQL's indexes",))
        return fitted

    async def write(self, table: Table, rows: Sequence[tuple[Value, ...]], before: Mark, after: Mark) -> None:
        """See `MovedStore`."""
        if table is Table.HISTORY:
            await self._add_months(row[0] for row in rows)
        columns = COLUMNS[table]
        text = msgspec.json.encode([dict(zip(columns, map(_in_json, row), strict=True)) for row in rows]).decode()

        async def write(connection: Connection) -> None:
            await self._replace_mark(connection, before, after)
            await connection.run(Sql(_insert(table)), rows=text)

        await self._database.write(write, statement_s=None)
        if after.table is not table:  # all its rows are here: from now on, plans are made for so many
            analyze = Sql(f"ANALYZE {table}")
            await self._database.write(lambda connection: connection.run_script(analyze), statement_s=None)

    async def _add_months(self, task_ids: Any) -> None:
        """Make the partitions of the months of these ids, before rows of them are in the default partition."""
        for month in {_month_of(task_id) for task_id in task_ids if _is_monthly(task_id or "")} - self._months:
            await self._database.write(partial(add_month, month=month))
            self._months.add(month)

    async def _replace_mark(self, connection: Connection, before: Mark | None, after: Mark | None) -> None:
        await connection.fetch_value("lock_ids", task_ids=[MOVE])
        check_mark(await _mark(connection), before, self.name)
        await set_value(connection, MOVE, write_mark(after))

    async def _check_new(self, connection: Connection) -> None:
        check_open(await _mark(connection))
        for table in Table:
            if table is not Table.META and await _count(connection, table=table, most=1):
                raise not_empty(self.name)


async def _check_alone(connection: Connection) -> None:
    others = [row["what"] for row in await connection.fetch_all("other_clients")]
    if others:
        raise DatabaseUnusable(
            f"The database is in use by {', '.join(others)}: stop the API, every worker and every other command first."
        )


async def _archived_months(connection: Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch_all("archived_months")]


async def _mark(connection: Connection) -> Mark | None:
    return read_mark(await get_value(connection, MOVE))


async def _count(connection: Connection, *, table: Table, most: int | None = None) -> int:
    where = " WHERE key <> ALL (:own::text[])" if table is Table.META else ""
    own = {"own": OWN_VALUES} if table is Table.META else {}
    counted = f"SELECT count(*) FROM (SELECT FROM {table}{where} LIMIT :most::bigint) AS counted"  # noqa: S608 - Everpost's own names
    return int(await connection.fetch_value(Sql(counted), most=most, **own))


def _select(table: Table, *, is_first: bool) -> str:
    """The statement of a table's next rows: the primary key as texts, and the columns."""
    keys = KEYS[table]
    kind = "::bigint" if keys[0] in {"archived_row", "decision_id", "edit_id", "id"} else ""
    after = ", ".join(f":after{number}::text{kind}" for number in range(len(keys)))
    conditions = [] if is_first else [f"({', '.join(keys)}) > ({after})"]
    conditions += ["job_id IS NOT NULL"] if table is Table.HISTORY else []
    conditions += ["key <> ALL (:own::text[])"] if table is Table.META else []
    source = f"ONLY {table}" if table is Table.ARCHIVE else table
    return _page_of(table, ", ".join(keys), keys, " AND ".join(conditions) or "true", source)


def _page_of(table: Table, order: str, keys: Sequence[str], where: str, source: str) -> str:
    """The next rows, as many as have `:most` bytes together, and at least one. Only `:limit` rows are looked at."""
    size = f"coalesce(octet_length({LARGE[table]}), 0)" if table in LARGE else "0"
    labels = ", ".join(f"{key}::text AS key{number}" for number, key in enumerate(keys))
    columns = ", ".join(COLUMNS[table])
    return (
        "SELECT * FROM (SELECT *, sum(own) OVER (ORDER BY place) AS until FROM ("  # noqa: S608 - Everpost's own names
        f"SELECT {labels}, {columns}, {size} AS own, row_number() OVER (ORDER BY {order}) AS place "
        f"FROM (SELECT *{', ctid' if order == 'ctid' else ''} FROM {source} WHERE {where} "
        f"ORDER BY {order} LIMIT :limit) AS next) AS sized) AS page WHERE until - own < :most::bigint ORDER BY place"
    )


BY_ID = ("job_id", ("job_id",), "job_id > :after0::text")
WITHOUT_ID = _page_of(
    Table.HISTORY, "ctid", ("ctid",), "job_id IS NULL AND ctid > :after0::text::tid", "publish_tasks_default"
)


def _portion(table: Table, found: Sequence[Record], *kind: str) -> Portion:
    rows = []
    keys = range(len(KEYS[table]))
    for record in found:
        label = " ".join(record[f"key{number}"] for number in keys)
        rows.append(Row(label, tuple(record[column] for column in COLUMNS[table])))
    last = [found[-1][f"key{number}"] for number in keys] if found else []
    return Portion(rows, msgspec.json.encode([*kind, *last]).decode() if found else None)


def _insert(table: Table) -> str:
    columns = COLUMNS[table]
    types = ", ".join(f"{column} {_type_of(column)}" for column in columns)
    values = [f"decode({column}, 'hex')" if column in BYTES else column for column in columns]
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608 - Everpost's own names
        f"FROM json_to_recordset(:rows::json) AS row ({types})"
    )


def _type_of(column: str) -> str:
    if column in REALS:
        return "double precision"
    return "bigint" if column in NUMBERS else "text"


def _in_json(value: Value) -> Value:
    return value.hex() if isinstance(value, bytes) else value


def _is_monthly(task_id: str) -> bool:
    return MONTHLY[0] <= task_id < MONTHLY[1] and UUID7.fullmatch(task_id) is not None


def _month_of(task_id: str) -> date:
    at = datetime.fromtimestamp(int(task_id[:12], 16) / 1000, UTC)
    return date(at.year, at.month, 1)
