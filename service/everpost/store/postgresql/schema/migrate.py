"""Brings the tables up to this version: the files `NNNN_name.sql` beside this one, in order, each once.

Two versions of Everpost may serve one database, so that processes can be replaced one by one. The old version (N-1)
goes on while the new one (N) migrates, and afterwards until it is stopped. Therefore:

- A migration adds: tables, columns with a default or NULL, indexes, triggers. What version N does not need any more is
  removed in version N+1. A meaning that changes is a new column.
- Its first line is `-- needs: V`: code older than version V cannot serve any more once the file is applied. V is the
  file's predecessor or less, except if a release says that everything must be stopped.
- It is quick. It is undone and tried again if it does not get a lock within `LOCK_WAIT_MS`, because everything else
  waits behind it, also for the locks that it has already. But nothing limits how long it holds a lock: it does so until
  all files are applied. Therefore it reads and fills no large table, and builds no index on a table of an earlier file
  that can be large, since all writes of that table would wait meanwhile.
- Upkeep does afterwards what takes long, and the new code works without it until then. Upkeep fills a column in small
  steps. It builds an index outside of a transaction, with `CREATE INDEX CONCURRENTLY`, and drops the invalid one that a
  crash left. A partitioned table cannot have that: the file makes the index `ON ONLY` the parent, which reads nothing,
  and upkeep builds each partition's and attaches it. No file has needed this yet.
- A file is never changed after its release.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import structlog

from everpost.errors import DatabaseBusy, DatabaseUnusable
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.statements import Sql

log = structlog.get_logger("everpost.store")

FOLDER = Path(__file__).parent
NEEDS = re.compile(r"-- needs: (\d+)\n")
PATIENCE_S = 60.0  # for another process that migrates, and for locks
LOCK_WAIT_MS = 200
PAUSE_S = 0.2


class Migration(msgspec.Struct, frozen=True):
    """A step from one version of the tables to the next.

    Attributes:
        needs: The oldest version of the code that can serve afterwards.
    """

    version: int
    name: str
    checksum: str
    needs: int
    text: str = ""


@cache
def migrations() -> Sequence[Migration]:
    """The migrations of this code, in order."""
    return [_read(version, path) for version, path in enumerate(sorted(FOLDER.glob("[0-9]*_*.sql")), 1)]


def _read(version: int, path: Path) -> Migration:
    text = path.read_text(encoding="utf-8")
    needs = NEEDS.match(text)
    assert needs is not None, f"{path.name} does not begin with -- needs: VERSION"
    return Migration(version, path.stem, hashlib.sha256(text.encode()).hexdigest(), int(needs[1]), text)


async def find_applied(connection: Connection) -> list[Migration] | None:
    """The migrations that were applied, in order, without their texts; None if there are no tables."""
    if not await connection.fetch_value("has_schema_versions"):
        return None
    return [msgspec.convert(row, Migration) for row in await connection.fetch_all("schema_versions")]


async def is_current(connection: Connection) -> bool:
    """Whether this code can serve the tables as they are.

    Raises:
        DatabaseUnusable: They are a newer Everpost's, or another build's.
    """
    applied = await find_applied(connection)
    return applied is not None and not _missing(applied)


async def bring_up(database: Database) -> int:
    """Bring the tables up to this version, whatever other processes do meanwhile; the version of the tables.

    Raises:
        DatabaseUnusable: A newer Everpost has changed the tables so that this one cannot serve them.
        DatabaseBusy: A lock was not available for a minute.
    """
    applied = await database.read(find_applied)
    until_s = time.monotonic() + PATIENCE_S
    while applied is None or _missing(applied):
        try:
            return await database.write(_migrate, statement_s=None)
        except DatabaseBusy:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(PAUSE_S)
    return len(applied)


async def _migrate(connection: Connection) -> int:
    """Apply what is missing, in one transaction, one process at a time."""
    await connection.fetch_value("lock_schema")
    await connection.run_script(Sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
    await connection.run_script("make_schema_versions")
    missing = _missing(await find_applied(connection) or [])
    for migration in missing:
        await connection.run_script(Sql(migration.text))
        row = {"version": migration.version, "name": migration.name}
        await connection.run("keep_schema_version", checksum=migration.checksum, needs=migration.needs, **row)
        log.info("database.migrated", **row)
    return len(migrations())


def refusal_of(applied: Sequence[Migration]) -> str:
    """Why this code cannot serve tables with these migrations; empty if it can, perhaps after some more."""
    try:
        _missing(applied)
    except DatabaseUnusable as error:
        return error.message
    return ""


def _missing(applied: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations that must still be applied.

    Raises:
        DatabaseUnusable: These tables are not for this code.
    """
    own = migrations()
    for theirs, ours in zip(applied, own, strict=False):
        if theirs.checksum != ours.checksum:
            raise DatabaseUnusable(f"The tables were made by another build: {theirs.name} differs from {ours.name}.")
    newer = applied[len(own) :]
    if any(migration.needs > len(own) for migration in newer):
        raise DatabaseUnusable(
            f"The tables have version {len(applied)}, made by a newer Everpost; this one knows {len(own)}. Install the "
            "newer one, or restore a backup made before it."
        )
    return own[len(applied) :]
