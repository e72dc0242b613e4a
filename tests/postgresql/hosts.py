"""Two hosts of PostgreSQL: a primary behind a proxy, and a standby that reaches the primary through another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from chaos_kit.proxy import Proxy
from postgresql.pair import STANDBY, PostgresqlPair
from postgresql_server import PostgresqlServer


class DatabaseHosts(PostgresqlPair):
    """The hosts.

    Attributes:
        to_primary: The proxy between clients and the first primary.
        between: The proxy between the first standby and the first primary.
    """

    def __init__(self, primary: PostgresqlServer, standby: PostgresqlServer, to_primary: Proxy, between: Proxy) -> None:
        super().__init__(primary, standby)
        self.to_primary = to_primary
        self.between = between
        self.places[1] = f"{primary.host}:{to_primary.port}"

    @property
    def address_of_primary(self) -> str:
        """The address of the present primary alone."""
        return self.primary.address()


@asynccontextmanager
async def database_hosts() -> AsyncIterator[DatabaseHosts]:
    """Two hosts that run."""
    async with AsyncExitStack() as stack:
        primary = await asyncio.to_thread(PostgresqlServer.new)
        stack.callback(primary.remove)
        to_primary = await stack.enter_async_context(Proxy(primary.socket_path).serving())
        between = await stack.enter_async_context(Proxy(primary.socket_path).serving())
        standby = await asyncio.to_thread(primary.new_standby, STANDBY, between.port)
        stack.callback(standby.remove)
        yield DatabaseHosts(primary, standby, to_primary, between)
