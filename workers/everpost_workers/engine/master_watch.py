"""Keeps a pool that finds its server through Sentinel from staying with a master that was replaced."""

import asyncio
import logging

from arq.connections import ArqRedis
from redis.asyncio.sentinel import SentinelConnectionPool

from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import ANSWER_S, Scripts
from everpost_workers.engine.trouble import REDIS_TROUBLE

logger = logging.getLogger("arq.worker")

LOOK_EVERY_S = 1.0


class MasterWatch:
    """Asks a Sentinel every second for the master; when it is another one, closes all connections.

    redis-py asks only when it opens a connection. Sentinel closes the connections of a master that it replaces, but not
    before it can reach that one, and after `SENTINEL FAILOVER` only about 10 s later.
    """

    def __init__(self, pool: SentinelConnectionPool, scripts: Scripts) -> None:
        self._pool = pool
        self._scripts = scripts
        self._master = pool.master_address

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except REDIS_TROUBLE as error:
                logger.debug("no master found: %r", error, extra=as_event("redis.no_master", error=repr(error)))
            except Exception:
                logger.exception("the master is not watched", extra=as_event("redis.watch_failed"))

    async def _look(self) -> None:
        async with asyncio.timeout(ANSWER_S):
            master = await self._pool.sentinel_manager.discover_master(self._pool.service_name)
        if master == self._master:
            return
        self._master = self._pool.master_address = master
        told = "{}:{}".format(*master)
        logger.warning("redis has another master, %s", told, extra=as_event("redis.master_changed", master=told))
        await self._scripts.close()
        await self._pool.disconnect()


def watch_of(pool: ArqRedis, scripts: Scripts) -> MasterWatch | None:
    """The watch that the pool needs: redis-py's own kind of pool through Sentinel. Other kinds watch themselves."""
    found = pool.connection_pool
    return MasterWatch(found, scripts) if type(found) is SentinelConnectionPool else None
