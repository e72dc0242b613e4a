"""One connection to the database file, and its settings."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote

import aiosqlite

from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.faults import is_undecodable
from everpost.store.sqlite.library import CORRUPTION_FIXED, lenient_text, sqlite3
from everpost.store.sqlite.queries import load

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]
"""A function for the connection's thread. It may run several times, so it may change nothing but the database."""

PRAGMAS = {
    "synchronous": "FULL",  # NORMAL loses acknowledged commits in a power cut
    "busy_timeout": "5000",
    "foreign_keys": "OFF",  # schema.sql has none, and another program's could refuse an outcome
    "mmap_size": "0",  # an I/O error in a mapped page would kill the process (SIGBUS)
    "cell_size_check": "ON",
    "trusted_schema": "OFF",
    "temp_store": "MEMORY",
    "journal_size_limit": "67108864",
    # Pages, 16 MB. The top pages of the indexes are in every commit, and are copied once for all of them. With an
    # older library, checkpoint.py does this.
    "wal_autocheckpoint": "4000" if CORRUPTION_FIXED else "0",
}
# KiB of pages. With a large file, every process fills its caches; the operating system's cache has the rest. The
# writer's cache has room for the pages of a commit, so that none is written twice.
WRITER_CACHE = -4_096
READER_CACHE = -1_024


async def connect(path: Path, mode: str) -> aiosqlite.Connection:
    """A connection in mode `rw` or `ro`. If it may write, the caller is responsible for waiting for the lock.

    Raises:
        DatabaseUnusable: The file is not in WAL mode.
    """
    connector = partial(sqlite3.connect, f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None)
    connection = aiosqlite.Connection(connector, iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - otherwise a dying process hangs on this thread
    await connection
    try:
        await run(connection, lambda raw: _configure(raw, read_only=mode == "ro"))
    except BaseException:
        await asyncio.shield(connection.close())
        raise
    return connection


async def run(connection: aiosqlite.Connection, function: Operation[Result]) -> Result:
    """Call a function in the connection's thread; its exceptions are raised here."""
    # aiosqlite offers only single statements. One switch to its thread for a whole operation makes a batch one
    # unit.
    return cast("Result", await connection._execute(function, connection._conn))  # type: ignore[no-untyped-call]  # noqa: SLF001


def _configure(raw: sqlite3.Connection, *, read_only: bool) -> None:
    for name, value in PRAGMAS.items():
        raw.execute(f"PRAGMA {name} = {value}")
    raw.execute(f"PRAGMA cache_size = {READER_CACHE if read_only else WRITER_CACHE}")
    if read_only:
        raw.execute("PRAGMA query_only = ON")
    journal = raw.execute("PRAGMA journal_mode").fetchone()[0]
    if journal != "wal":
        raise DatabaseUnusable(f"The database is in journal mode {journal!r}, not WAL; is it on a network file system?")
    if not read_only:
        raw.execute("PRAGMA busy_timeout = 0")
        prepare_moves(raw)


def prepare_moves(connection: sqlite3.Connection) -> None:
    """Make the temporary views that `end_tasks` needs in a connection. Call it outside of a transaction."""
    connection.executescript(load("ending"))
    connection.executescript(load("calling_back"))


def read(raw: sqlite3.Connection, operation: Operation[Result]) -> Result:
    """Run an operation that reads, in the connection's thread. Text that is not UTF-8 gets replacement characters."""
    try:
        return operation(raw)
    except sqlite3.OperationalError as error:
        if not is_undecodable(error):
            raise
    raw.text_factory = lenient_text  # an inherited row holds text that is not UTF-8
    try:
        return operation(raw)
    finally:
        raw.text_factory = str


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A read transaction: no task moves from table to table between two statements inside it."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")
