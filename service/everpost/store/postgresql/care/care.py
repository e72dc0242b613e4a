"""Checks and upkeep of a PostgreSQL database: see `everpost.store.care.Care`."""

from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import structlog

from everpost.pace import Others
from everpost.redaction import USUALLY, Redactor
from everpost.store.care import NoteTimeline, StoreState
from everpost.store.expiry import Expired, expired_now, oldest_kept
from everpost.store.postgresql.care.failures import fold_failures
from everpost.store.postgresql.care.lineage import DispatchGuard
from everpost.store.postgresql.care.primary_watch import PrimaryWatch
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.lists.counts import COUNT_S, add_drift, find_drift, fold_counts
from everpost.store.postgresql.lists.filling import empty, fill

log = structlog.get_logger("everpost.store")

CHUNK = 500  # tasks that are added to the search in one transaction
MONTHS_AHEAD = 2
MONTHS_BEHIND = 2  # that keep their partitions, if they are empty: tasks may still end in them


class PostgresqlCare:
    """See `everpost.store.care.Care`."""

    def __init__(
        self, database: Database, watch: PrimaryWatch, guard: DispatchGuard, redactor: Redactor = USUALLY
    ) -> None:
        self._database = database
        self._redactor = redactor
        self._is_hidden = False
        self._watch = watch
        self._guard = guard
        self._months: set[date] = set()

    def state(self) -> StoreState:
        """See `Care.state`. PostgreSQL looks after its own log."""
        database = self._database
        ahead_ms = database.primary.clock.host_ahead_ms
        trouble = database.silence or database.trouble  # a write that was not answered only says that it was not
        return StoreState(
            database.waiting,
            0,
            has_long_log=False,
            host_ahead_ms=ahead_ms,
            is_reachable=database.silence is None,
            trouble=trouble,
            may_lack_commits=self._guard.is_halted,
        )

    def share_timelines(self, note_timeline: NoteTimeline) -> None:
        """See `Care.share_timelines`."""
        self._watch.share(note_timeline)

    async def fill_search(self, limit: int = 1_000) -> int:
        """See `Care.fill_search`."""
        if not self._is_hidden:
            if await empty(self._database, self._redactor.digest):
                log.info("search.fills_anew")
            self._is_hidden = True
        filled, step = 0, 1
        while step and filled < limit:
            step = await fill(self._database, min(CHUNK, limit - filled), self._redactor)
            filled += step
        return filled

    async def repair_counts(self) -> int:
        """See `Care.repair_counts`. The rows are counted in a snapshot, so that no writer waits for it."""
        drift = await self._database.search(find_drift, within_s=COUNT_S)
        if not drift.by_pair or not await self._database.write(lambda connection: add_drift(connection, drift)):
            return 0
        log.warning("counts.repaired", counts=len(drift.by_pair), tasks=sum(map(abs, drift.by_pair.values())))
        return len(drift.by_pair)

    async def tend(self, now_ms: int) -> None:
        """See `Care.tend`: adds changes to the counts, makes the next months' partitions, and drops empty ones."""
        await fold_counts(self._database)
        await fold_failures(self._database)
        for month in (month_of(now_ms, ahead) for ahead in range(MONTHS_AHEAD + 1)):
            if month not in self._months and await self._database.write(partial(add_month, month=month)) is not None:
                self._months.add(month)
        before = month_of(now_ms, -MONTHS_BEHIND)
        if await self._database.write(lambda connection: connection.fetch_value("drop_empty_months", before=before)):
            self._months.clear()

    async def forget_expired(self, keys_kept_ms: int, now_ms: int | None, limit: int = 1_000) -> int:
        """See `Care.forget_expired`."""
        oldest = await self._database.read(_oldest_kept)
        expired = expired_now(keys_kept_ms, now_ms, *oldest)
        return await self._database.write(partial(_forget, expired=expired, limit=limit))

    def watch_others(self) -> Others:
        """See `Care.watch_others`."""
        return OtherWriters(self._database)


class OtherWriters:
    """See `everpost.pace.Others`. Other processes do not count: in PostgreSQL, writers do not wait for each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._submitted = database.submitted

    def look(self, raw: Any) -> None:  # noqa: ARG002 - the protocol's
        """See `Others`. The write that calls this is the step's own."""
        self._submitted += 1

    def are_writing(self) -> bool:
        """See `Others`."""
        before, self._submitted = self._submitted, self._database.submitted
        return self._submitted > before


async def _oldest_kept(connection: Connection) -> list[str]:
    return [await connection.fetch_value(name, newer=newer) or "" for name, newer in oldest_kept()]


async def _forget(connection: Connection, expired: Expired, limit: int) -> int:
    return sum([await connection.run(name, **given, limit=limit) for name, given in expired])


async def add_month(connection: Connection, month: date) -> bool | None:
    """Make the partitions of a month; False if they are there, None if another process is adding some.

    Raises:
        DatabaseBusy: The partitions for other months are in use; another try can succeed.
    """
    added: bool | None = await connection.fetch_value("add_month", month=month)
    return added


def month_of(now_ms: int, ahead: int = 0) -> date:
    """The first day of the month of a time, or of a month so many months later."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    month = now.year * 12 + now.month - 1 + ahead
    return date(month // 12, month % 12 + 1, 1)
