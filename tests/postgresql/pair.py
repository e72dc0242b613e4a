"""A primary PostgreSQL and the standby that follows it."""

import asyncio
import signal

from everpost.testing import eventually
from postgresql_server import PostgresqlServer

STANDBY = "standby"  # the name under which each of the two follows the other
CAUGHT_UP_S = 60.0


class PostgresqlPair:
    """The servers.

    Attributes:
        primary, standby: They change places in a promotion.
        places: The host and port of each, as clients reach it.
    """

    def __init__(self, primary: PostgresqlServer, standby: PostgresqlServer) -> None:
        self.primary = primary
        self.standby = standby
        self.places = [f"{server.host}:{server.port}" for server in (standby, primary)]

    @property
    def address(self) -> str:
        """The address with both, as `EVERPOST_DATABASE` takes it; any of them may be the primary."""
        return f"postgresql://everpost@{','.join(self.places)}/postgres"

    def make_synchronous(self) -> None:
        """Have every commit wait for the standby."""
        self.primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        self.primary.sql("SELECT pg_reload_conf()")

    async def caught_up(self) -> None:
        """Wait until the standby follows, and has replayed everything that was committed before now."""
        ((wanted,),) = self.primary.sql("SELECT pg_current_wal_lsn()")
        found = (
            f"SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming' AND pg_last_wal_replay_lsn() >= '{wanted}'"
        )

        async def is_so() -> bool:
            return bool(self.standby.sql(found))

        await eventually(is_so, timeout_s=CAUGHT_UP_S, what="a standby that has caught up")

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
        source = f"host={self.primary.host} port={self.primary.port} user=everpost application_name={STANDBY}"
        self.standby.configure({"primary_conninfo": source})
        await asyncio.to_thread(self.standby.start)

    def remove(self) -> None:
        """End both, and delete their data."""
        for server in (self.standby, self.primary):
            server.remove()
