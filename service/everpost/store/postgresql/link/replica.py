"""Reads from a standby, if it has everything that was committed up to a moment ago."""

import asyncio
import logging
import time
from collections import deque
from typing import TypeVar

from everpost.database_address import PostgresqlAddress
from everpost.errors import SearchTimeout, ServiceError
from everpost.log_fields import as_event
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.faults import LinkLost, StatementRefused, TransactionUndone
from everpost.store.postgresql.link.primary import Primary
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.sessions import Sessions
from everpost.store.postgresql.link.transactions import Work

T = TypeVar("T")

logger = logging.getLogger("everpost.store")

SESSIONS = 4
ANSWER_S = 1.0  # for a connection, and again for the standby's position; then the primary is asked
REST_S = 2.0  # after a standby could not be used
MARKS = 64


class Replica:
    """The standby among the hosts of an address, as a server that sessions lead to.

    How far behind it is does not depend on clocks, and is also known while nothing is written: this process notes from
    time to time how far the primary's log goes. A standby that has replayed it up to there has every task that was
    committed before that moment.

    Args:
        most_lag_s: A standby that may be further behind is not read.
    """

    def __init__(self, address: PostgresqlAddress, primary: Primary, most_lag_s: float) -> None:
        self._address = address
        self._primary = primary
        self._most_lag_s = most_lag_s
        self._sessions = Sessions(self, SESSIONS)
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS)  # positions in the log, and when they were noted
        self._generation = primary.generation  # of the marks
        self._rest_until_s = 0.0
        self._unused_because = ""

    @property
    def note_every_s(self) -> float:
        """How often `note` should be called."""
        return self._most_lag_s / 4

    async def note(self, session: Session) -> None:
        """Note how far the log of the primary goes."""
        asked_s = time.monotonic()
        position = await Connection(session, ANSWER_S).fetch_value("flushed_position")
        if session.generation != self._generation:  # another log
            self._marks.clear()
            self._generation = session.generation
        self._marks.append((position, asked_s))

    async def read(self, work: Work[T], within_s: float) -> tuple[T, float] | None:
        """The result of `work`, and by how many seconds it may be old; None if the primary must be asked.

        Raises:
            SearchTimeout: The standby answers, but `work` was not done within the time.
        """
        if time.monotonic() < self._rest_until_s:
            return None
        try:
            async with self._sessions.lent(time.monotonic() + ANSWER_S) as session:
                lag_s = self._lag_at(await Connection(session, ANSWER_S).fetch_value("replayed_position"))
                if lag_s > self._most_lag_s:
                    self._give_up("it is behind")
                    return None
                async with asyncio.timeout(within_s):
                    found = await work(Connection(session, within_s))
        except TransactionUndone:  # the standby had to replay what the transaction still saw
            return None
        except TimeoutError:
            raise SearchTimeout(within_s) from None
        except (LinkLost, StatementRefused, ServiceError) as error:
            self._give_up(str(error))
            return None
        self._unused_because = ""
        return found, lag_s

    def _lag_at(self, position: int | None) -> float:
        """How old the newest mark is that a standby at this position has passed."""
        if position is None or self._generation != self._primary.generation:
            return float("inf")
        passed_s = max((at_s for mark, at_s in self._marks if mark <= position), default=float("-inf"))
        return time.monotonic() - passed_s

    def _give_up(self, reason: str) -> None:
        self._rest_until_s = time.monotonic() + REST_S
        if not self._unused_because:
            logger.warning("database.replica_unused", extra=as_event(reason=reason))
        self._unused_because = reason

    def is_usable(self, session: Session) -> bool:
        """Whether the session leads to a standby of the present primary."""
        return session.generation == self._primary.generation and not session.is_closed

    def lose(self, session: Session, reason: LinkLost) -> None:
        """The session is given up by its caller; others may still work."""

    async def connect(self) -> Session:
        """A new session on a standby.

        Raises:
            LinkLost: No host is one.
        """
        error: Exception = LinkLost("no host of EVERPOST_DATABASE is a standby")
        generation, server = self._primary.generation, self._primary.server
        identifier = None if server is None else server.system_identifier
        for host in self._address.hosts:
            if host != self._primary.host:
                try:
                    return await Session.open_standby(self._address.at(host), generation, identifier)
                except (LinkLost, ServiceError) as refusal:
                    error = refusal
        raise error

    async def close(self) -> None:
        """Close every session."""
        await self._sessions.close()
