"""Connections to Redis, by its address. A closed or frozen connection is always reported as a lost connection."""

from typing import Any

from redis.asyncio import BlockingConnectionPool

from everpost.errors import SettingsError
from everpost.queue.connection import ClosedConnectionTold

UNREADABLE = (
    "EVERPOST_REDIS cannot be read. An address is like redis://127.0.0.1:6379/0, rediss://:PASSWORD@host:6379/0, "
    "unix:///run/redis.sock or redis+sentinel://host:26379,other:26379/mymaster, with special characters of the "
    "password percent-encoded."
)
BY_SENTINEL = "+sentinel"


def connection_pool(address: str, **options: Any) -> BlockingConnectionPool:
    """Connections that give up on a frozen server after seconds, and that check a TLS server's name.

    Raises:
        SettingsError: `address` is not an address of Redis.
    """
    scheme, _, rest = address.partition("://")
    if scheme.startswith("rediss"):
        options.setdefault("ssl_check_hostname", True)
    options = {"socket_timeout": 2, "socket_connect_timeout": 1, "max_connections": 16, "timeout": 2, **options}
    try:
        if scheme.endswith(BY_SENTINEL):
            from everpost.queue.sentinel_address import master_pool  # noqa: PLC0415 - most stacks have no Sentinels

            pool: BlockingConnectionPool = master_pool(scheme.removesuffix(BY_SENTINEL), rest, options)
        else:
            pool = BlockingConnectionPool.from_url(address, **options)
            kind = pool.connection_class
            pool.connection_class = type(kind.__name__, (ClosedConnectionTold, kind), {})
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but refuses unknown parameters
    except (ValueError, TypeError):  # the errors' texts may contain a part of the password
        raise SettingsError(UNREADABLE) from None
    return pool
