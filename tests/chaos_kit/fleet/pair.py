"""A primary PostgreSQL and its standby, on hosts of their own."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

from chaos_kit.fleet.hosts import Host
from everpost.testing import eventually
from postgresql_server import FAST, PostgresqlServer

PORT = 5432
STANDBY = "standby"  # the name under which each of the two follows the other
QUICK = {
    "wal_keep_size": "256MB",
    "wal_receiver_timeout": "3s",
    "wal_sender_timeout": "3s",
    "wal_retrieve_retry_interval": "500ms",
}
IN_STEP_S = 60.0


class PostgresqlPair:
    """The servers.

    Args:
        is_synchronous: A commit waits for the standby.

    Attributes:
        primary, standby: They change places in a promotion.
        is_started: Whether both have run.
    """

    def __init__(self, first: Host, second: Host, *, is_synchronous: bool) -> None:
        self._hosts = {host.address: host for host in (first, second)}
        self._is_synchronous = is_synchronous
        self.is_started = False
        self.primary, self.standby = (
            PostgresqlServer.at_place(host=host.address, port=PORT) for host in (first, second)
        )

    @property
    def address(self) -> str:
        """The address in the form of EVERPOST_DATABASE."""
        return f"postgresql://everpost@{','.join(f'{address}:{PORT}' for address in self._hosts)}/postgres"

    def host_of(self, server: PostgresqlServer) -> Host:
        """The host that a server runs on."""
        return self._hosts[server.host]

    async def start(self) -> None:
        """Make both, and start them."""
        names = {"synchronous_standby_names": STANDBY} if self._is_synchronous else {}
        begin = partial(self.primary.begin, {**FAST, **QUICK, **names})
        await self._on(self.primary, begin)
        await self.rejoin()
        self.is_started = True

    async def rejoin(self) -> None:
        """Make the other server a standby of the present primary, and wait until it has everything."""
        await self._on(self.standby, partial(self.standby.follow, self.primary, STANDBY))
        await self.is_in_step()

    async def is_in_step(self) -> None:
        """Wait until the standby has everything that the primary has committed before now."""
        ((wanted,),) = self.primary.sql("SELECT pg_current_wal_lsn()")
        found = f"SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= '{wanted}'"

        async def is_so() -> bool:
            return bool(self.primary.sql(found))

        await eventually(is_so, timeout_s=IN_STEP_S, what="a standby that is in step")

    async def promote(self) -> PostgresqlServer:
        """Make the standby the primary; the old one, which it no longer knows of."""
        old = self.primary
        await self._on(self.standby, self.standby.promote)
        self.primary, self.standby = self.standby, old
        return old

    async def restart(self, server: PostgresqlServer) -> None:
        """Start a server that was killed."""
        await self._on(server, server.start)

    async def _on(self, server: PostgresqlServer, work: Callable[[], None]) -> None:
        await asyncio.to_thread(self.host_of(server).run, work)

    def kill(self, server: PostgresqlServer) -> None:
        """Send SIGKILL to all of a server's processes."""
        server.signal_all(signal.SIGKILL)

    def close(self) -> None:
        """End both, and delete their data."""
        for server in (self.primary, self.standby):
            server.remove()
