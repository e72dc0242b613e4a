"""Connections to Redis. A closed or frozen connection is always reported as a lost connection."""

from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost

from everpost.errors import SettingsError

UNREADABLE = (
    "EVERPOST_REDIS cannot be read. An address is like redis://127.0.0.1:6379/0, rediss://:PASSWORD@host:6379/0 or "
    "unix:///run/redis.sock, with special characters of the password percent-encoded."
)


class ClosedConnectionTold(AbstractConnection):
    """Raises `ConnectionError` instead of uvloop's `RuntimeError` for a write after the other side has closed."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command, as redis-py does."""
        try:
            await super().send_packed_command(*args, **kwargs)
        except RuntimeError as error:
            raise ConnectionLost(str(error)) from error


def connection_pool(address: str, **options: Any) -> BlockingConnectionPool:
    """Connections that give up on a frozen server after seconds, and that check a TLS server's name.

    Raises:
        SettingsError: `address` is not an address of Redis.
    """
    if address.startswith("rediss://"):
        options.setdefault("ssl_check_hostname", True)
    options = {"socket_timeout": 2, "socket_connect_timeout": 1, "max_connections": 16, "timeout": 2, **options}
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(address, **options)
        kind = pool.connection_class
        kind(**pool.connection_kwargs)  # does not connect, but refuses unknown parameters
    except (ValueError, TypeError):  # the errors' texts may contain a part of the password
        raise SettingsError(UNREADABLE) from None
    pool.connection_class = type(kind.__name__, (ClosedConnectionTold, kind), {})
    return pool
