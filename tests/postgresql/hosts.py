"""Two hosts of PostgreSQL: a primary behind a proxy, and a standby that reaches the primary through another one."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from chaos_kit.proxy import Proxy
from postgresql_server import PostgresqlServer

PATIENCE_S = 60


class DatabaseHosts:
    """The hosts.

    Attributes:
        to_primary: The proxy between clients and the first primary.
        between: The proxy between the first standby and the first primary.
    """

    def __init__(self, primary: PostgresqlServer, standby: PostgresqlServer, to_primary: Proxy, between: Proxy) -> None:
        self.primary = primary
        self.standby = standby
        self.to_primary = to_primary
        self.between = between
        self._ports = {primary.port: to_primary.port, standby.port: standby.port}

    @property
    def address(self) -> str:
        """The address with both hosts; any of them may be the primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in reversed(self._ports.values()))
        return f"postgresql://everpost@{hosts}/postgres"

    @property
    def address_of_primary(self) -> str:
        """The address of the present primary alone."""
        return self.primary.address()

    def make_synchronous(self) -> None:
        """Have every commit wait for the standby."""
        self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        self.primary.sql("SELECT pg_reload_conf()")

    async def caught_up(self) -> None:
        """Wait until the standby has replayed everything."""
        (wanted,) = self.primary.sql("SELECT pg_current_wal_lsn()")[0]
        async with asyncio.timeout(PATIENCE_S):
            while not self.standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{wanted}'")[0][0]:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.02)

    async def promote(self) -> None:
        """Promote the standby, which is the primary from now on; the other one stays as it is."""
        await asyncio.to_thread(self.standby.promote)
        self.primary, self.standby = self.standby, self.primary

    async def kill_primary(self) -> None:
        """Kill -9 of the primary, as a power cut."""
        await asyncio.to_thread(self.primary.signal_all, signal.SIGKILL)

    async def switch_over(self) -> None:
        """Change the roles of the two in an orderly way: nothing is lost, and the old primary follows the new one."""
        await asyncio.to_thread(self.primary.stop)
        await self.promote()
        (self.standby.data / "standby.signal").touch()
        source = f"host=127.0.0.1 port={self.primary.port} user=everpost application_name=standby"
        self.standby.configure({"primary_conninfo": source})
        await asyncio.to_thread(self.standby.start)


@asynccontextmanager
async def database_hosts() -> AsyncIterator[DatabaseHosts]:
    """Two hosts that run."""
    async with AsyncExitStack() as stack:
        primary = await asyncio.to_thread(PostgresqlServer.new)
        stack.callback(primary.remove)
        to_primary = await stack.enter_async_context(Proxy(primary.socket_path).serving())
        between = await stack.enter_async_context(Proxy(primary.socket_path).serving())
        standby = await asyncio.to_thread(primary.new_standby, "standby", between.port)
        stack.callback(standby.remove)
        yield DatabaseHosts(primary, standby, to_primary, between)
