"""The maintenance of a PostgreSQL database that is not open, or not up to date.

PostgreSQL's own tools back it up, restore it and free its space; the commands say which.
"""

from pathlib import Path

from everpost.database_address import PostgresqlAddress
from everpost.errors import DatabaseUnusable, ServiceError
from everpost.findings import Finding
from everpost.store import Store
from everpost.store.maintenance import Backup, Compacted, Contents, Depth, ImportReport, Inspection, Progress
from everpost.store.pause import Pause
from everpost.store.postgresql.care.findings import indexes_finding, schema_findings, server_findings
from everpost.store.postgresql.care.inspection import find_state, inspect_contents
from everpost.store.postgresql.care.moving import PostgresqlMoved
from everpost.store.postgresql.link.blocking import BlockingDatabase
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.schema.migrate import find_applied, is_current, migrations
from everpost.store.postgresql.store import PostgresqlStore

CHECK_S = 600.0  # for checks that read every row


class PostgresqlMaintenance:
    """See `everpost.store.maintenance.Maintenance`."""

    def __init__(self, address: PostgresqlAddress) -> None:
        self._address = address

    @property
    def name(self) -> str:
        """See `Maintenance`."""
        return self._address.shown

    def exists(self) -> bool:
        """See `Maintenance`."""
        with BlockingDatabase(self._address) as database:
            return database.read(find_applied) is not None

    def back_up(self, target: Path) -> Backup:
        """See `Maintenance`."""
        raise DatabaseUnusable(
            f"{self.name} is backed up by PostgreSQL's own tools: `pg_dump --format=custom --file={target} ADDRESS` "
            "for a copy as of now, or `pg_basebackup` and an archive of the WAL to go back to any moment; see "
            "docs/backup.md."
        )

    def restore(self, backup: Path, now_ms: int) -> Pause:
        """See `Maintenance`."""
        del now_ms
        raise DatabaseUnusable(
            f"{self.name} is restored by PostgreSQL's own tools: `createdb NEW`, then `pg_restore --single-transaction "
            f"--dbname=NEW {backup}`, and the new address in EVERPOST_DATABASE; or a base backup and its WAL. Everpost "
            "notices that at its next start, and begins paused, as after any restore; see docs/backup.md."
        )

    def import_queue(self, source: Path, progress: Progress | None = None) -> ImportReport:
        """See `Maintenance`."""
        del progress
        raise DatabaseUnusable(
            f"Only an SQLite database takes an original system's file: `everpost import {source} --database NEW.db`, "
            f"then `everpost move NEW.db ADDRESS`, which must be done before {self.name} is used."
        )

    def compact(self) -> Compacted:
        """See `Maintenance`."""
        raise DatabaseUnusable(
            f"PostgreSQL's autovacuum frees the space of {self.name} for new tasks. `VACUUM (FULL) "
            "publish_tasks_archive` gives it back to the file system, and locks the archive meanwhile."
        )

    async def open_current(self) -> Store | None:
        """See `Maintenance`."""
        database = await Database.open(self._address)
        try:
            if await database.read(is_current):
                return PostgresqlStore(database)
        except BaseException:
            await database.close()
            raise
        await database.close()
        return None

    async def open_moved(self) -> PostgresqlMoved:
        """See `Maintenance`."""
        return await PostgresqlMoved.open(self._address)

    async def inspect(self, depth: Depth, now_ms: int, least_free_bytes: int) -> Inspection:
        """See `Maintenance`. The free space of the server's disk is not known here."""
        del least_free_bytes
        found = [Finding("database", "address", self.name)]
        try:
            database = await Database.open(self._address)
        except ServiceError as error:
            told = Finding("database", "server", "not usable", ok=False, advice=error.message)
            return Inspection([*found, told], None)
        try:
            contents, of_server = await _look_inside(database, depth, now_ms)
        except ServiceError as error:
            told = Finding("database", "inspection", "not finished", ok=False, advice=error.message)
            return Inspection([*found, told], None)
        finally:
            await database.close()
        return Inspection([*found, *of_server], contents)


async def _look_inside(database: Database, depth: Depth, now_ms: int) -> tuple[Contents | None, list[Finding]]:
    state = await database.read(find_state)
    found = [*server_findings(state), *schema_findings(state)]
    if state.version is None or state.refusal or state.version < len(migrations()):
        return None, found
    contents = await database.search(lambda connection: inspect_contents(connection, now_ms, depth), within_s=CHECK_S)
    if depth is Depth.THOROUGH:
        found.append(indexes_finding())
    return contents, found
