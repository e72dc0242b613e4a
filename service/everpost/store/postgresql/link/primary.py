"""Finds the primary among the hosts of the address, and connects to it."""

import asyncio
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from everpost.clock import ServerClock
from everpost.database_address import Host, PostgresqlAddress
from everpost.errors import ServiceError
from everpost.log_fields import as_event
from everpost.store.postgresql.link.faults import LinkLost
from everpost.store.postgresql.link.session import Identity, Session

logger = logging.getLogger("everpost.store")

GRACE_S = 0.5  # after the first primary answered, for another one that was promoted later


class Primary:
    """The server that all sessions lead to.

    Attributes:
        generation: Counts how often the primary was lost; a session of an earlier generation is of no use.
        clock: The server's.
        server: Which server it was, the last time it was found; None before the first time.
        is_synchronous: Its commits wait for a standby.
        on_other: Called when another server is found than the last time, before any caller gets a session on it.
    """

    def __init__(self, address: PostgresqlAddress) -> None:
        self._address = address
        self.generation = 0
        self.clock = ServerClock()
        self.server: Identity | None = None
        self.is_synchronous = False
        self.on_other: Callable[[Session], Awaitable[None]] | None = None
        self._host: Host | None = None  # None while it is not known which one is the primary
        self._least: Identity | None = None  # an earlier one is of no use; None is `server` itself
        self._lost_s = time.monotonic()
        self._search: asyncio.Task[None] | None = None
        self._found: Session | None = None  # by the last search, and not used yet
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()

    @property
    def host(self) -> Host | None:
        """The host that is the primary, if it is known."""
        return self._host

    def is_usable(self, session: Session) -> bool:
        """Whether the session leads to the present primary."""
        return session.generation == self.generation and not session.is_closed

    async def close(self) -> None:
        """End a search that is under way, and close the session that it found."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait((self._search,))
        await self._drop_found()

    async def _drop_found(self) -> None:
        if self._found is not None:
            await self._found.close()
            self._found = None

    async def check(self, session: Session) -> None:
        """Check that the session's server is the one it was: a proxy may have led it to another one.

        Raises:
            LinkLost: It is another one, or does not answer.
        """
        if await session.find_server() != session.server:
            raise LinkLost("another server has the primary's address now")
        self.clock.learn(session.time)
        self.is_synchronous = session.is_synchronous

    async def look_for_newer(self) -> None:
        """Ask the other hosts whether one was promoted while the present primary still answers, and give it up then.

        A primary that was cut off may go on answering the clients on its own side. Its commits would be lost.
        """
        if self._host is None or self.server is None:
            return
        generation, others = self.generation, [host for host in self._address.hosts if host != self._host]
        asked = [asyncio.create_task(Session.open(self._address.at(host), generation)) for host in others]
        try:
            answers = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await _close_all(asked)
        for host, answer in zip(others, answers, strict=True):
            is_newer = isinstance(answer, Session) and self.server.is_before(answer.server)
            if is_newer and generation == self.generation:
                self._forget(f"{host} was promoted")
                self._end_statements_elsewhere()

    def use_none_before(self, timeline: str) -> None:
        """Give the server up if it was the primary before this timeline, and use none that was."""
        if self.server is None:
            return
        self._least = msgspec.structs.replace(self.server, timeline=timeline)
        if self._host is not None and self.server.is_before(self._least):
            self._forget(f"another host was promoted: it has timeline {timeline}")
            self._end_statements_elsewhere()

    def lose(self, session: Session, reason: LinkLost) -> None:
        """Give up all sessions of this one's generation, if its server is not usable."""
        if session.generation == self.generation and reason.is_of_all:
            self._forget(str(reason))

    def _forget(self, reason: str) -> None:
        self.generation += 1
        if self._host is not None:
            logger.warning("database.primary_lost", extra=as_event(host=str(self._host), reason=reason))
            self._host = None
            self._lost_s = time.monotonic()

    async def connect(self) -> Session:
        """A new session on the primary.

        Raises:
            LinkLost: No host is the primary now.
            DatabaseUnusable: It refuses the login.
        """
        if self._host is None:
            return await self._find()
        generation = self.generation
        try:
            session = await self._open_at(self._host)
        except LinkLost as error:
            if generation == self.generation and error.is_of_all:
                self._forget(str(error))
            raise
        if session.server != self.server:
            self.lose(session, LinkLost("another server has its address now"))
            await session.close()
            raise LinkLost("another server has the primary's address now")
        return session

    async def _find(self) -> Session:
        """Ask all hosts. One search serves all callers; the first one gets its session, the others connect then."""
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._ask_all())
            self._search.add_done_callback(lambda done: done.cancelled() or done.exception())  # all callers may be gone
        await asyncio.shield(self._search)
        if self._found is not None:
            session, self._found = self._found, None
            return session
        return await self.connect()

    async def _ask_all(self) -> None:
        hosts = self._address.hosts
        asked = {host: asyncio.create_task(self._open(host)) for host in hosts}
        try:
            await self._first_answers(list(asked.values()))
        except BaseException:
            await _close_all(list(asked.values()))
            raise
        found: list[tuple[Host, Session]] = []
        refusals: list[Exception] = []
        for host, task in asked.items():
            if not task.done():
                task.cancel()
            elif (error := task.exception()) is None:
                found.append((host, task.result()))
            elif isinstance(error, Exception):
                refusals.append(error)
        if not found:
            raise _worst(refusals)
        # Of two primaries the one that was promoted last is right: the other one was cut off, and came back.
        host, session = max(found, key=lambda each: each[1].server.timeline or "")
        for _, other in found:
            if other is not session:
                await other.close()
        self.clock.learn(session.time)
        if self.on_other is not None and self.server not in {None, session.server}:
            await self.on_other(session)
        await self._drop_found()
        self._found = session
        self._note(host, session)

    async def _open_at(self, host: Host) -> Session:
        session = await Session.open(self._address.at(host), self.generation)
        self._sessions.add(session)
        return session

    async def _open(self, host: Host) -> Session:
        session = await self._open_at(host)
        for newer in (self.server, self._least):
            if newer is not None and session.server.is_before(newer):
                await session.close()
                raise LinkLost(f"{host} was the primary before timeline {newer.timeline}, and lacks what came after")
        return session

    async def _first_answers(self, asked: Sequence["asyncio.Task[Session]"]) -> None:
        """Wait until one host has answered as a primary and the others had time to, or all have answered."""
        waiting = set(asked)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is None for task in done):
                if waiting:
                    await asyncio.wait(waiting, timeout=GRACE_S)
                return

    def _note(self, host: Host, session: Session) -> None:
        took_s = round(time.monotonic() - self._lost_s, 3)
        if self.server not in {None, session.server}:
            self._end_statements_elsewhere()
        self._host, self.server, self.is_synchronous = host, session.server, session.is_synchronous
        logger.info(
            "database.primary_found",
            extra=as_event(host=str(host), timeline=session.server.timeline, took_s=took_s),
        )

    def _end_statements_elsewhere(self) -> None:
        """Do not wait any longer for a server that does not answer and is not the primary any more."""
        for session in list(self._sessions):
            if session.generation != self.generation:
                session.raw.terminate()


async def _close_all(asked: Sequence["asyncio.Task[Session]"]) -> None:
    for task in asked:
        task.cancel()
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, Session):
            await answer.close()


def _worst(refusals: Sequence[Exception]) -> Exception:
    """The error to raise: one that a person must act on comes before one that may pass by itself."""
    for refusal in refusals:
        if isinstance(refusal, ServiceError):
            return refusal
    return refusals[0] if refusals else LinkLost("no host answers")
