"""Checks and upkeep of an SQLite file: see `everpost.store.care.Care`."""

from collections.abc import Sequence

import structlog

from everpost.pace import Others, Pace
from everpost.redaction import USUALLY, Redactor
from everpost.store.care import NoteTimeline, StoreState
from everpost.store.expiry import Expired, expired_now, oldest_kept
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.others import OtherWriters
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.counts import COUNT_S, add_drift, find_drift
from everpost.store.sqlite.lists.search import CHUNK, add_rows, forget_rows, next_rows
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.schema.migrate import complete, is_whole

log = structlog.get_logger("everpost.store")


class SqliteCare:
    """See `everpost.store.care.Care`."""

    def __init__(self, database: Database, redactor: Redactor = USUALLY) -> None:
        self._database = database
        self._redactor = redactor
        self._is_hidden = False
        self._whole_at: int | None = None  # SQLite's number of the tables' last change that left them whole
        self._pace = Pace(CHUNK, rest=0)

    def state(self) -> StoreState:
        """See `Care.state`."""
        database = self._database
        return StoreState(
            database.waiting,
            database.log_bytes,
            database.has_long_log,
            host_ahead_ms=0,
            is_reachable=True,
            trouble=database.trouble,
        )

    def share_timelines(self, note_timeline: NoteTimeline) -> None:
        """See `Care.share_timelines`. A file has none."""

    async def fill_search(self, limit: int = 1_000) -> int:
        """See `Care.fill_search`."""
        if not self._is_hidden:
            if await self._database.write(lambda connection: forget_rows(connection, self._redactor.digest)):
                log.info("search.fills_anew")
            self._is_hidden = True
        filled = 0
        while filled < limit:
            async with self._pace.step() as size:
                after, documents = await self._next(min(size, limit - filled))
                if not documents or not await self._add(after, documents):
                    break
            filled += len(documents)
        return filled

    async def _next(self, limit: int) -> tuple[int, list[tuple[int, str]]]:
        return await self._database.read(lambda connection: next_rows(connection, limit, self._redactor))

    async def _add(self, after: int, documents: Sequence[tuple[int, str]]) -> bool:
        return await self._database.write(self._pace.timed(lambda connection: add_rows(connection, after, documents)))

    async def tend(self, now_ms: int) -> None:  # noqa: ARG002 - the port's
        """See `Care.tend`: puts back what a process of the version before removed at its start."""
        version = await self._database.read(_schema_version)
        if version == self._whole_at:
            return
        if not await self._database.read(is_whole):
            await self._database.write(complete)
            log.warning("database.completed")
            version = await self._database.read(_schema_version)
        self._whole_at = version

    async def repair_counts(self) -> int:
        """See `Care.repair_counts`. A reader counts the rows meanwhile, so that no writer waits for it."""
        drift = await self._database.search(find_drift, within_s=COUNT_S)
        if not drift.by_pair or not await self._database.write(lambda connection: add_drift(connection, drift)):
            return 0
        log.warning("counts.repaired", counts=len(drift.by_pair), tasks=sum(map(abs, drift.by_pair.values())))
        return len(drift.by_pair)

    async def forget_expired(self, keys_kept_ms: int, now_ms: int | None, limit: int = 1_000) -> int:
        """See `Care.forget_expired`."""
        oldest = await self._database.read(_oldest_kept)
        expired = expired_now(keys_kept_ms, now_ms, *oldest)
        return await self._database.write(lambda connection: _forget(connection, expired, limit))

    def watch_others(self) -> Others:
        """See `Care.watch_others`."""
        return OtherWriters(self._database)


def _oldest_kept(connection: sqlite3.Connection) -> list[str]:
    rows = [connection.execute(load(name), {"newer": newer}).fetchone() for name, newer in oldest_kept()]
    return ["" if row is None else str(row[0]) for row in rows]


def _forget(connection: sqlite3.Connection, expired: Expired, limit: int) -> int:
    return sum(connection.execute(load(name), {**given, "limit": limit}).rowcount for name, given in expired)


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    return int(version)
