"""Notices that the database was restored or a standby promoted, and begins the pause that follows.

Commits may be missing then: tasks that were sent may look unsent. PostgreSQL's own tools restore it, so there is no
command of Everpost's that could begin the pause.
"""

import asyncio
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from everpost.clock import Clock, to_text
from everpost.errors import ServiceError, Unavailable
from everpost.store.pause import KEY as PAUSED
from everpost.store.pause import Pause, read_pause, write_pause
from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.care.primary_watch import EVERY_S, PrimaryWatch
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import STATEMENT_S, Database
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.task.restore_rules import GIVEN_UP, HELD, end_of_send

log = structlog.get_logger("everpost.store")

KEY = "lineage"  # in everpost_meta
BEGIN, COMMIT = Sql("BEGIN"), Sql("COMMIT")


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Which server, database and tables these are. None is what this user may not know.

    Attributes:
        system_identifier: Made by initdb.
        timeline: Eight hexadecimal digits; each promotion and each point-in-time recovery makes a new, higher one.
        database: The number of the database, which CREATE DATABASE made.
        tables: The number of the ledger's table, which CREATE TABLE made.
        is_synchronous: A commit is confirmed when a standby has it, so a promoted standby has all of them.
    """

    system_identifier: str | None
    timeline: str | None
    database: int
    tables: int
    is_synchronous: bool


class DispatchGuard:
    """Keeps this process's workers from sending, once it has found another server and dispatch is paused.

    Attributes:
        is_halted: Dispatch is paused since then, or was a moment ago.
    """

    def __init__(self, database: Database, clock: Clock, watch: PrimaryWatch) -> None:
        self._database = database
        self._watch = watch
        self._clock = clock
        self.is_halted = False
        self._kept_synchronous = False  # what the lineage says that this process has looked at last
        self._loop: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Look at the lineage now, when another server is found, and when commits begin or end to be synchronous."""
        await self._look()
        self._database.primary.on_other = self._follow
        self._loop = asyncio.create_task(self._look_at_changes(), name="lineage")

    async def close(self) -> None:
        """Stop looking."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])

    async def _look(self) -> None:
        is_synchronous = self._database.primary.is_synchronous
        pause = await self._database.write(partial(follow_lineage, clock=self._clock))
        self.is_halted = self.is_halted or pause is not None
        self._kept_synchronous = is_synchronous

    async def _look_at_changes(self) -> None:
        """Keep in the database whether its commits are synchronous: the setting may change while all processes run.

        A standby that has the commit which says so has all commits before it.
        """
        while True:
            await asyncio.sleep(EVERY_S)
            if self._database.primary.is_synchronous is self._kept_synchronous:
                continue
            with suppress(ServiceError):
                await self._look()
                log.info("database.replication_changed", is_synchronous=self._kept_synchronous)

    async def check_claim(self) -> None:
        """Check that claimed tasks may be looked up: no other process knows a newer primary, and as `check`.

        A task that was accepted on a newer primary is queued after that primary was reported.
        """
        await self._watch.look()
        await self.check()

    async def check(self) -> None:
        """Check that tasks may be sent.

        Raises:
            Unavailable: Dispatch is paused since this process found another server.
        """
        if not self.is_halted:
            return
        if await self._database.read(_find_pause) is not None:
            raise Unavailable("Dispatch is paused, since PostgreSQL may have lost commits: see `everpost resume`.")
        self.is_halted = False

    async def _follow(self, session: Session) -> None:
        """Called before any other statement runs on a server that was not the primary before."""
        await self._watch.report(session.server)
        left = self._database.primary
        was_asynchronous = None if left.server is None or left.is_synchronous else left.server.timeline
        connection = Connection(session, STATEMENT_S)
        await connection.run_script(BEGIN)
        await follow_lineage(connection, self._clock, was_asynchronous)
        self.is_halted = await _find_pause(connection) is not None
        await connection.run_script(COMMIT)
        self._kept_synchronous = session.is_synchronous


async def follow_lineage(connection: Connection, clock: Clock, was_asynchronous: str | None = None) -> Pause | None:
    """Compare the lineage with the kept one, in a transaction, and begin a pause if commits may be missing; that pause.

    Of several processes that come at once, one does it.

    Args:
        was_asynchronous: The timeline of the server that this process has left, if its commits waited for no standby in
            the end. The standby may not have heard of that.
    """
    await connection.fetch_value("lock_ids", task_ids=[KEY])
    found = msgspec.convert(await connection.fetch_one("find_lineage"), Lineage)
    text = await get_value(connection, KEY)
    known = found if text is None else msgspec.json.decode(text, type=Lineage)
    if text is None or found != known:
        await set_value(connection, KEY, msgspec.json.encode(found).decode())
    if was_asynchronous is not None and was_asynchronous == known.timeline:
        known = msgspec.structs.replace(known, is_synchronous=False)
    if not may_lack_commits(known, found) or await _find_pause(connection) is not None:
        return None
    pause = await _begin_pause(connection, told_of(known, found), clock())
    log.warning("dispatch.lineage_changed", known=known, found=found)
    return pause


def may_lack_commits(known: Lineage, found: Lineage) -> bool:
    """Whether commits that were confirmed before may be missing now."""
    same_place = (known.database, known.tables) == (found.database, found.tables)
    if not same_place or _differ(known.system_identifier, found.system_identifier):
        return True
    return _differ(known.timeline, found.timeline) and not known.is_synchronous


def told_of(known: Lineage, found: Lineage) -> str:
    """The text that tells people what was restored."""
    if _differ(known.system_identifier, found.system_identifier):
        return f"PostgreSQL (another cluster, {found.system_identifier})"
    if (known.database, known.tables) != (found.database, found.tables):
        return "PostgreSQL (a dump: the tables were made anew)"
    return f"PostgreSQL (timeline {found.timeline} follows {known.timeline}: a promoted standby, or a base backup)"


def _differ(known: str | None, found: str | None) -> bool:
    return None not in {known, found} and known != found


async def _find_pause(connection: Connection) -> Pause | None:
    return read_pause(await get_value(connection, PAUSED))


async def _begin_pause(connection: Connection, backup: str, now_ms: int) -> Pause:
    """Hold tasks that may have been sent since, end those that were being sent as unknown, and pause dispatch."""
    now = to_text(now_ms)
    newest_at = await connection.fetch_value("find_newest")
    sends = await connection.fetch_all("find_sends")
    await end_tasks(
        connection, [end_of_send(row["task_id"], row["sending"], row["started_at"], now_ms) for row in sends]
    )
    await connection.run("hold_unfinished", message=HELD, now=now)
    held = await connection.fetch_value("count_held")
    pause = Pause(
        backup=backup,
        restored_at=now,
        newest_at=newest_at,
        ended=await connection.fetch_value("count_ended"),
        sending=len(sends),
        held=held,
        scheduled=await connection.fetch_value("count_unfinished") - held,
        operations=await connection.run("abandon_operations", error=GIVEN_UP, now=now),
        replaced=None,
        while_running=True,
    )
    await connection.run("pause_recurring", now=now)
    await set_value(connection, PAUSED, write_pause(pause))
    return pause
