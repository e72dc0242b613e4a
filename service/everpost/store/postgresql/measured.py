"""A PostgreSQL database for the bench: filled by SQL instead of running tasks, and counted on a separate connection."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from everpost.clock import to_text
from everpost.database_address import postgresql_address, with_database
from everpost.store.measured import Counters, Recorded, Say
from everpost.store.postgresql.link.blocking import BlockingDatabase
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.lists.counts import add_drift, find_drift
from everpost.store.postgresql.schema.migrate import bring_up
from everpost.task.model import new_task_id

FILLED_AT_A_TIME = 100_000
ASKED_AT_A_TIME = 5_000
EVERY_MS = 2_000  # time between the rows
FIRST_MS = 1_735_689_600_000  # 2025: each month has its partition
IO_HAS_THE_LOG = 180_000  # the version of PostgreSQL whose pg_stat_io has the write-ahead log
LOCAL = frozenset({"127.0.0.1", "::1", None})


class PostgresqlLook:
    """See `everpost.store.measured.Look`."""

    def __init__(self, database: BlockingDatabase) -> None:
        self._database = database

    def count_ended(self, platform: str, status: str) -> int:
        """See `Look`."""
        return int(self._database.fetch_value("count_ended_of", platform=platform, status=status))

    def count_waiting(self, platform: str) -> int:
        """See `Look`."""
        return int(self._database.fetch_value("count_waiting", platform=platform))

    def count_queued(self, task_ids: Sequence[str]) -> int:
        """See `Look`."""
        return sum(self._database.fetch_value("count_queued", task_ids=ids) for ids in _portions(task_ids))

    def recorded(self, task_ids: Sequence[str], status: str) -> Recorded:
        """See `Look`."""
        found = [
            row
            for ids in _portions(task_ids)
            for row in self._database.fetch_all("count_recorded", task_ids=ids, status=status)
        ]
        return Recorded(*(sum(row[name] for row in found) for name in ("rows", "tasks", "attempts")))

    def is_recorded(self, task_id: str) -> bool:
        """See `Look`."""
        return bool(self._database.fetch_value("is_recorded", task_id=task_id))

    def first_attempts(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        """See `Look`."""
        return [
            (row["started_at"], row["finished_at"])
            for ids in _portions(task_ids)
            for row in self._database.fetch_all("first_attempts", task_ids=ids)
        ]

    def has_relayed(self) -> bool:
        """See `Look`."""
        return bool(self._database.fetch_value("has_relayed"))

    def retries_of(self, batch_id: str) -> tuple[int, int]:
        """See `Look`."""
        (row,) = self._database.fetch_all("retries_of_batch", batch_id=batch_id)
        return row["retried"], row["waiting"]

    def is_done(self, operation_id: str) -> bool:
        """See `Look`."""
        return bool(self._database.fetch_value("is_done", operation_id=operation_id))

    def count_lock_waits(self) -> int:
        """See `Look`."""
        return int(self._database.fetch_value("count_lock_waits"))

    def counters(self) -> Counters:
        """See `Look`."""
        (row,) = self._database.fetch_all("count_writes")
        fsyncs = "count_fsyncs" if row["version"] >= IO_HAS_THE_LOG else "count_fsyncs_before_18"
        return Counters(row["writes"], int(self._database.fetch_value(fsyncs)), row["wal_bytes"])


class PostgresqlMeasured:
    """See `everpost.store.measured.MeasuredStore`."""

    name = "postgresql"

    def __init__(self, address: str) -> None:
        self._address = postgresql_address(address)
        with self._connected() as database:
            (server,) = database.fetch_all("measured_server")
            self._pid = _parent_of(server["pid"]) if server["host"] in LOCAL else None
        self.version = str(server["version"])

    def fill_history(self, rows: int, say: Say) -> None:
        """See `MeasuredStore`."""
        with self._connected() as database:
            database.run(bring_up)
            months = {"first_ms": FIRST_MS, "last_ms": FIRST_MS + rows * EVERY_MS}
            database.write(lambda connection: connection.fetch_all("add_months_between", **months))
            with (
                _uncounted(database, "publish_tasks"),
                _without_indexes(database, say),
                ThreadPoolExecutor(2) as threads,
            ):
                portions = range(1, rows + 1, FILLED_AT_A_TIME)
                for last in threads.map(lambda first: _fill(database, first, rows), portions):
                    say(f"a history of {last:,} of {rows:,} rows ...")
            database.run_alone(Sql("VACUUM (ANALYZE) publish_tasks"))

    def fill_ledger(self, rows: int, data: bytes, priority: int) -> list[str]:
        """See `MeasuredStore`."""
        given = {"rows": rows, "data": data.decode(), "priority": priority, "start_ms": FIRST_MS, "every_ms": EVERY_MS}
        with self._connected() as database:
            database.run(bring_up)
            database.write(lambda connection: connection.run("fill_ledger", **given))
            database.run_alone(Sql("VACUUM (ANALYZE) task_queue"))
            return [row["task_id"] for row in database.fetch_all("ledger_ids")]

    def add_failed(self, count: int, data: bytes, ended_ms: int) -> list[str]:
        """See `MeasuredStore`."""
        ids = [new_task_id(ended_ms) for _ in range(count)]
        given = {"task_ids": ids, "data": data.decode(), "at": to_text(ended_ms)}
        with self._connected() as database:
            database.write(lambda connection: connection.run("add_failed", **given))
        return ids

    def leave_nothing_to_do(self) -> None:
        """See `MeasuredStore`."""
        with self._connected() as database:
            database.write(lambda connection: connection.run("empty_ledger"))
            database.write(lambda connection: connection.run("empty_unsearched"))

    def server_pid(self) -> int | None:
        """See `MeasuredStore`."""
        return self._pid

    @contextmanager
    def look(self) -> Iterator[PostgresqlLook]:
        """See `MeasuredStore`."""
        with self._connected() as database:
            yield PostgresqlLook(database)

    def _connected(self) -> BlockingDatabase:
        return BlockingDatabase(self._address)


@contextmanager
def scratch_database(address: str) -> Iterator[str]:
    """The address of a new database on the server of another one, which is dropped afterwards."""
    name = f"everpost_{uuid4().hex[:12]}"
    server = postgresql_address(address)
    with BlockingDatabase(server) as database:
        database.run_alone(Sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"))
    try:
        yield with_database(address, name)
    finally:
        with BlockingDatabase(server) as database:
            database.run_alone(Sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@contextmanager
def _uncounted(database: BlockingDatabase, table: str) -> Iterator[None]:
    """Without the table's triggers; its tasks are counted afterwards."""
    database.run_alone(Sql(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    yield
    database.run_alone(Sql(f"ALTER TABLE {table} ENABLE TRIGGER USER"))

    async def count(connection: Connection) -> None:
        await add_drift(connection, await find_drift(connection))

    database.write(count)


@contextmanager
def _without_indexes(database: BlockingDatabase, say: Say) -> Iterator[None]:
    """Without the history's indexes but the primary key; they are made again afterwards, which takes half the time."""
    indexes = database.fetch_all("indexes_of_history")
    for index in indexes:
        database.run_alone(Sql(f"DROP INDEX {index['name']}"))
    yield
    for number, index in enumerate(indexes):
        say(f"{number} of {len(indexes)} indexes of the history ...")

        async def create(connection: Connection, definition: str = index["definition"]) -> None:
            await connection.run_script(Sql("SET LOCAL maintenance_work_mem = '512MB'"))
            await connection.run_script(Sql(definition))

        database.write(create)


def _fill(database: BlockingDatabase, first: int, rows: int) -> int:
    """Add a portion of the rows; the number of its last one."""
    last = min(first + FILLED_AT_A_TIME - 1, rows)
    given = {"first": first, "last": last, "start_ms": FIRST_MS, "every_ms": EVERY_MS}
    database.write(lambda connection: connection.run("fill_history", **given))
    return last


def _parent_of(pid: int) -> int | None:
    """The server that a connection's process belongs to; None if it does not run here."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(found["PPid"]) if found["Name"].startswith("postgres") else None


def _portions(task_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(task_ids), ASKED_AT_A_TIME):
        yield list(task_ids[start : start + ASKED_AT_A_TIME])
