"""One connection to PostgreSQL, with what is known of the server behind it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self

import asyncpg
import msgspec

from everpost.clock import ServerTime, monotonic_ms
from everpost.errors import DatabaseUnusable
from everpost.store.postgresql.link.faults import LinkLost, meaning_of
from everpost.store.postgresql.link.statements import statement

CONNECT_S = 2.0  # a server that is alive answers much sooner
CLOSE_S = 2.0
NAME = "everpost"  # of each connection, in pg_stat_activity

KEEPALIVE = MappingProxyType({"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000})
"""The system asks an idle peer after 5 s whether it is there, and gives it up after about 10 s without an answer.

Without it, a statement without a time limit would wait for hours for a host that lost its power or its network.
`identify_server.sql` sets the same for the server's side, which would keep the locks of such a client.
"""


class Identity(msgspec.Struct, frozen=True):
    """Which server it is. A field is None if this user may not know it.

    Attributes:
        timeline: Eight hexadecimal digits; each promotion makes a new, higher one.
    """

    system_identifier: str | None
    timeline: str | None

    def is_before(self, other: Self) -> bool:
        """Whether `other` was promoted after it: then it lacks commits of `other`."""
        if None in {self.timeline, other.timeline} or self.system_identifier != other.system_identifier:
            return False
        return str(self.timeline) < str(other.timeline)


class Session:
    """An open connection to a primary.

    Attributes:
        server: Which server it leads to.
        time: What that server's clock was when it was asked last.
        recovered_at: When that server last recovered after a crash, at the latest.
        is_synchronous: Commits wait for a standby.
        generation: Counts how often the primary was lost before this connection was made.
        is_unreplicated: A commit was not confirmed by the synchronous standby, because the wait for it was cancelled.
    """

    server: Identity
    time: ServerTime
    recovered_at: str
    is_synchronous: bool

    def __init__(self, raw: asyncpg.Connection, generation: int) -> None:
        self.raw = raw
        self.generation = generation
        self.is_unreplicated = False
        raw.add_log_listener(self._hear)

    @classmethod
    async def open(cls, address: str, generation: int) -> Self:
        """Connect to one server.

        Raises:
            LinkLost: It does not answer, or it is read-only.
            DatabaseUnusable: It refuses the login, or its settings would break a promise.
        """
        session = cls(await _connected(address), generation)
        await session._identify()
        return session

    @classmethod
    async def open_standby(cls, address: str, generation: int, system_identifier: str | None) -> Self:
        """Connect to a standby of the server with this identifier.

        Raises:
            LinkLost: It does not answer, or is no such standby.
            DatabaseUnusable: It refuses the login.
        """
        session = cls(await _connected(address), generation)
        await session._identify_standby(system_identifier)
        return session

    async def _identify(self) -> None:
        with self._whole():
            self.server = await self.find_server()

    async def _identify_standby(self, system_identifier: str | None) -> None:
        with self._whole():
            found = await self._ask()
            if not found["is_read_only"] or found["system_identifier"] != system_identifier:
                raise LinkLost("the server is no standby of the primary")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """End the connection at once if the block is left by an exception."""
        try:
            yield
        except BaseException:
            self.raw.terminate()
            raise

    async def find_server(self) -> Identity:
        """Ask which server answers now, and its time. Behind a proxy such as PgBouncer, it may change.

        Raises:
            LinkLost: It does not answer, or is read-only.
            DatabaseUnusable: Its settings would break a promise.
        """
        asked_ms = monotonic_ms()
        found = await self._ask()
        if found["is_read_only"]:
            raise LinkLost("the server is read-only", is_refusal=True)
        if found["synchronous_commit"] == "off":
            raise DatabaseUnusable(
                "PostgreSQL has synchronous_commit = off: a crash would lose accepted tasks. Set it to on for "
                "Everpost's database or user, for example with ALTER DATABASE ... SET synchronous_commit = on."
            )
        self.time = ServerTime(found["now_ms"], asked_ms, monotonic_ms())
        self.recovered_at = found["recovered_at"]
        self.is_synchronous = found["is_synchronous"]
        return Identity(found["system_identifier"], found["timeline"])

    async def _ask(self) -> Any:
        try:
            return await self.raw.fetchrow(statement("identify_server").text, timeout=CONNECT_S)
        except Exception as error:
            raise meaning_of(error) from error

    def _hear(self, _connection: Any, message: asyncpg.PostgresLogMessage) -> None:
        """Called for each warning, before the result of its statement is returned."""
        # Its text may be translated; the name of the C function is always the same.
        if message.server_source_function == "SyncRepWaitForLSN":
            self.is_unreplicated = True

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to be dead."""
        return bool(self.raw.is_closed())

    async def close(self) -> None:
        """Close it; a statement that is still running is cancelled, and its server may not answer."""
        try:
            await self.raw.close(timeout=CLOSE_S)
        except Exception:  # noqa: BLE001 - whatever it was, the connection is aborted now
            self.raw.terminate()


def _keep_alive(connection: socket.socket) -> None:
    if connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _connected(address: str) -> asyncpg.Connection:
    named = {} if "application_name=" in address else {"application_name": NAME}
    try:
        raw = await asyncpg.connect(address, timeout=CONNECT_S, server_settings=named)
    except Exception as error:
        raise meaning_of(error) from error
    _keep_alive(raw._transport.get_extra_info("socket"))  # noqa: SLF001 - asyncpg has no option for it
    return raw
