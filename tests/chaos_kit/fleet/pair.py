"""A primary PostgreSQL and its standby, on hosts of their own."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

from chaos_kit.fleet.hosts import Host
from postgresql.pair import STANDBY, PostgresqlPair
from postgresql_server import FAST, PostgresqlServer

PORT = 5432
QUICK = {
    "wal_keep_size": "256MB",
    "wal_receiver_timeout": "3s",
    "wal_sender_timeout": "3s",
    "wal_retrieve_retry_interval": "500ms",
}


class PairOnHosts(PostgresqlPair):
    """The servers.

    Args:
        is_synchronous: A commit waits for the standby.

    Attributes:
        is_started: Whether both have run.
    """

    def __init__(self, first: Host, second: Host, *, is_synchronous: bool) -> None:
        self._hosts = {host.address: host for host in (first, second)}
        self._is_synchronous = is_synchronous
        self.is_started = False
        super().__init__(*(PostgresqlServer.at_place(host=host.address, port=PORT) for host in (first, second)))

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
        await self.caught_up()

    async def promote(self) -> None:
        """See `PostgresqlPair.promote`."""
        await self._on(self.standby, self.standby.promote)
        self.primary, self.standby = self.standby, self.primary

    async def restart(self, server: PostgresqlServer) -> None:
        """Start a server that was killed."""
        await self._on(server, server.start)

    async def _on(self, server: PostgresqlServer, work: Callable[[], None]) -> None:
        await asyncio.to_thread(self.host_of(server).run, work)

    def kill(self, server: PostgresqlServer) -> None:
        """Send SIGKILL to all of a server's processes."""
        server.signal_all(signal.SIGKILL)
