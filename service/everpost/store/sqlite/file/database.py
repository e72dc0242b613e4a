"""One SQLite file: opening it, committing writes, and the meaning of its errors."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import aiosqlite
import msgspec

from everpost.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnusable,
    DatabaseUnwritable,
    ServiceError,
    Unavailable,
    WriteUnconfirmed,
)
from everpost.log_fields import as_event
from everpost.store.history import SEARCH_S
from everpost.store.sqlite.faults import DatabaseFiles, code_of, meaning_of
from everpost.store.sqlite.file.checkpoint import keep_log_small
from everpost.store.sqlite.file.commits import STALLED_S, GroupCommits
from everpost.store.sqlite.file.connection import Operation, Result, connect, read, run
from everpost.store.sqlite.file.opening import bring_up, files_of
from everpost.store.sqlite.file.searches import Searches
from everpost.store.sqlite.file.transactions import KNOWN_LOCK_WAIT_S, LOCK_WAIT_S, RowWrite, commit_all, until
from everpost.store.sqlite.file.watch import LogLength, Reads, copy_log, give_mode, may_be_written, repeat
from everpost.store.sqlite.library import CORRUPTION_FIXED, LIBRARY, sqlite3
from everpost.store.sqlite.schema.migrate import MigrationReport

logger = logging.getLogger("everpost.store")

READERS = 2


class Database:
    """This process's one writer connection to the file, and a few read-only ones beside it.

    Writes of concurrent callers are committed together in one transaction; each caller gets its own result or error
    after the commit. Reads see everything committed before they began, and never wait for the writer.

    Attributes:
        submitted: The number of writes this process has asked for.
        trouble: Why the last write failed, if the write itself was not at fault; None after another write has reached
            the disk. A damaged file is not written any more.
    """

    def __init__(self, path: Path, report: MigrationReport, occupancy: int, readers: int = READERS) -> None:
        self.path = path
        self.report = report
        self.submitted = 0
        self.trouble: ServiceError | None = None
        self._occupancy: int | None = occupancy
        self._files: DatabaseFiles
        self._checkpoints: asyncio.Task[None] | None = None
        self._writer: aiosqlite.Connection | None = None
        self._commits: GroupCommits[Operation[Any] | RowWrite]
        self._reader_count = readers
        self._readers: list[aiosqlite.Connection] = []
        self._idle: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        self._lists, self._searches = Searches(path), Searches(path)
        self._reads = Reads()
        self._log = LogLength(files_of(path)[1])
        self._watch: asyncio.Task[None] | None = None
        self._are_files_gone = False
        self._is_read_only = False  # the writer's connection was opened while the file was read-only

    @classmethod
    async def open(cls, path: Path, *, readers: int = READERS) -> Self:
        """Bring the file up to `schema.sql`, adopt an original one, and connect.

        Raises:
            DatabaseUnusable: The file is not a database, is corrupt, or belongs to a newer Everpost.
            DatabaseUnwritable: The folder or the file cannot be written.
        """
        try:
            occupancy, report = await asyncio.to_thread(bring_up, path)
            database = cls(path, report, occupancy, readers)
            try:
                await database._connect()
                database._watch = asyncio.create_task(repeat(database._look))
            except BaseException:
                await asyncio.shield(database.close())
                raise
        except sqlite3.Error as error:
            raise meaning_of(error, path) from error
        except OSError as error:
            raise DatabaseUnwritable(error.strerror or str(error)) from error
        level = logging.INFO if CORRUPTION_FIXED else logging.WARNING
        fields = as_event(path=str(path), library=LIBRARY, kind=report.kind)
        logger.log(level, "database.opened", extra=fields)
        return database

    async def _connect(self) -> None:
        self._writer = await connect(self.path, "rw")
        self._commits = GroupCommits(self._writer, self._commit, self._on_stall)
        for _ in range(self._reader_count):
            connection = await connect(self.path, "ro")
            self._readers.append(connection)
            self._idle.put_nowait(connection)
        self._files = DatabaseFiles(self.path)
        if not CORRUPTION_FIXED and self._checkpoints is None:
            self._checkpoints = asyncio.create_task(keep_log_small(self.path, self.write))

    @property
    def log_bytes(self) -> int:
        """The length of the write-ahead log at the last check."""
        return self._log.size_bytes

    @property
    def has_long_log(self) -> bool:
        """Whether a long-running reader keeps the log from restarting."""
        return self._log.is_large

    @property
    def waiting(self) -> int:
        """The number of writes that wait for the running one."""
        return self._commits.waiting

    async def write(self, operation: Operation[Result], *, within_s: float | None = None) -> Result:
        """Run `operation` inside a transaction; return its result once it is on the disk.

        Args:
            within_s: If it does not begin within this time, it is not run, and the database counts as busy.

        Raises:
            DatabaseBusy: Another process kept the file locked for longer than `LOCK_WAIT_S`.
            DatabaseUnwritable: The disk is full, read-only or failing; nothing was written.
            DatabaseUnusable: The file is damaged, or no longer the one that was opened; nothing was written.
        """
        timely = operation if within_s is None else until(time.monotonic() + within_s, operation)
        return cast("Result", await self._submit(timely))

    async def write_rows(self, statement: str, rows: Sequence[Any]) -> None:
        """Have `statement` write rows. When this returns, all are on the disk; if it raises, none are.

        Raises the errors of `write`, and those of the statement.
        """
        if rows:
            await self._submit(RowWrite(statement, msgspec.json.encode(rows)[1:-1]))

    async def read(self, operation: Operation[Result]) -> Result:
        """Run `operation` on a read-only connection; it sees everything committed before."""
        connection = await self._idle.get()
        self._reads.begin(connection)
        try:
            return await run(connection, lambda raw: read(raw, operation))
        except sqlite3.Error as error:
            raise self._meaning_of(error) from error
        finally:
            self._reads.end(connection)
            self._idle.put_nowait(connection)

    async def search(
        self, operation: Operation[Result], *, within_s: float = SEARCH_S, looks_far: bool = True
    ) -> Result:
        """Run a read that may take long, on a separate connection. It is stopped if the caller is cancelled.

        Args:
            looks_far: It may read many rows to find few. Other slow reads, such as a page of large tasks, have separate
                connections, and do not wait for these.

        Raises:
            SearchTimeout: It was not done after `within_s` seconds.
        """
        searches = self._searches if looks_far else self._lists
        try:
            return await searches.run(lambda raw: read(raw, operation), within_s)
        except sqlite3.Error as error:
            raise self._meaning_of(error) from error

    def _meaning_of(self, error: sqlite3.Error) -> Exception:
        meaning = meaning_of(error)
        if isinstance(meaning, DatabaseDamaged):
            self.trouble = meaning
        if code_of(error) == sqlite3.SQLITE_CANTOPEN and not self._files.are_there:
            return self._files.missing()
        if code_of(error) == sqlite3.SQLITE_INTERRUPT:
            return Unavailable("The read was stopped: it kept the write-ahead log from starting anew.")
        return meaning

    async def close(self) -> None:
        """Commit submitted writes, then close every connection."""
        await cancel_all(self._watch, self._checkpoints)
        await self._disconnect()
        if self._occupancy is not None:
            os.close(self._occupancy)
            self._occupancy = None

    async def _disconnect(self) -> None:
        await asyncio.gather(self._searches.close(), self._lists.close())
        await self._commits.drain()  # last, because later writes are refused
        connections = [*self._readers, *([self._writer] if self._writer else [])]
        self._writer, self._readers = None, []
        for connection in connections:
            await connection.close()

    async def _look(self) -> None:
        """Make the checks of `watch.py`, once a second."""
        await self._look_at_files()
        self._log.look(self._reads.longest_s)
        if self._log.is_large:
            await self._reads.stop_long()
        if self._is_read_only and may_be_written(self.path):
            await self._reconnect()

    async def _look_at_files(self) -> None:
        """If the log was deleted, copy its content into the database; it would be lost with the last process."""
        try:
            self._files.check()
        except DatabaseUnusable as error:
            if self._writer is not None:
                await run(self._writer, self._save)
            if not self._are_files_gone:
                logger.error("database.files_gone", extra=as_event(error=error.message))  # noqa: TRY400 - not a defect of Everpost
            if not isinstance(self.trouble, DatabaseDamaged):
                self.trouble = self._files.missing()
            self._are_files_gone = True
        else:
            self._files.is_saved = self._are_files_gone = False

    def _save(self, raw: sqlite3.Connection) -> None:
        """Copy a deleted log into the database, once; runs in the writer's thread."""
        if self._files.is_saved or not self._files.may_be_saved:
            return
        self._files.is_saved = copy_log(raw)
        if self._files.is_saved:
            logger.warning("database.log_saved", extra=as_event(into=str(self.path)))

    async def _reconnect(self) -> None:
        """Open every connection anew: one made while the file was read-only stays so, and so do later ones."""
        for _ in range(len(self._readers)):
            await self._idle.get()  # reads wait meanwhile
        await self._disconnect()
        give_mode(*files_of(self.path))
        try:
            await self._connect()
        except BaseException:
            while not self._idle.empty():
                self._idle.get_nowait()
            await self._disconnect()
            raise
        self._is_read_only = False
        logger.info("database.reopened", extra=as_event(path=str(self.path)))

    async def _submit(self, write: Operation[Any] | RowWrite) -> Any:
        if self._writer is None:
            raise DatabaseUnwritable("it is closed")
        self.submitted += 1
        return await self._commits.submit(write)

    def _on_stall(self) -> ServiceError:
        self.trouble = DatabaseUnwritable(f"the disk has not answered for {STALLED_S:g} s")
        return self.trouble

    def _commit(self, raw: sqlite3.Connection, operations: Sequence[Operation[Any] | RowWrite]) -> Sequence[Any]:
        """Commit the operations together; runs in the writer's thread."""
        if isinstance(self.trouble, DatabaseDamaged):
            raise self.trouble
        lock_wait_s = KNOWN_LOCK_WAIT_S if isinstance(self.trouble, DatabaseBusy) else LOCK_WAIT_S
        try:
            self._files.check()
            answers, has_written, trouble = commit_all(raw, operations, lock_wait_s)
        except ServiceError as error:
            if isinstance(error, DatabaseUnusable):
                self._save(raw)
            self._note(error)
            raise
        try:
            self._files.check()  # commits to a file that was deleted meanwhile may be lost
        except DatabaseUnusable:
            self._save(raw)
            self.trouble = self._files.missing()
            raise (WriteUnconfirmed(self.trouble.message) if has_written else self.trouble) from None
        if trouble is not None:
            self._note(trouble)
        elif has_written:
            self.trouble = None
        return answers

    def _note(self, trouble: ServiceError) -> None:
        cause = trouble.__cause__
        self._is_read_only = isinstance(cause, sqlite3.Error) and code_of(cause) == sqlite3.SQLITE_READONLY
        self.trouble = _lasting(trouble)


async def cancel_all(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait for their end; an entry may be None."""
    for task in tasks:
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))


def _lasting(error: ServiceError) -> ServiceError:
    """The error if it concerns the whole file, not only one write."""
    return DatabaseUnwritable(str(error.__cause__)) if isinstance(error, WriteUnconfirmed) else error
