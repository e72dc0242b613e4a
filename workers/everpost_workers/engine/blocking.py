"""A blocking client of the server that a pool is connected to, for the thread that renews leases."""

from typing import Any

import redis
import redis.asyncio
import redis.sentinel
from redis.asyncio.sentinel import SentinelConnectionPool

_CONNECTION_SETTINGS = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name"}
)


class FollowingPool(redis.sentinel.SentinelConnectionPool):
    """Finds the master through Sentinel, and leaves it as soon as another pool has found a newer one."""

    def __init__(self, followed: SentinelConnectionPool, sentinels: redis.sentinel.Sentinel, **settings: Any) -> None:
        self._followed = followed
        super().__init__(followed.service_name, sentinels, **settings)  # type: ignore[no-untyped-call]

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """A connection, as in redis-py."""
        if self.master_address not in {None, self._followed.master_address}:
            self.disconnect()
        return super().get_connection(*args, **options)


def blocking_client(client: "redis.asyncio.Redis", *, timeout_s: float) -> "redis.Redis":
    """A blocking client of the server that `client` is connected to, or of the master that its Sentinels name.

    Args:
        client: A client over TCP, TLS or a Unix socket.
        timeout_s: How long to wait for a connection and for each answer.
    """
    pool = client.connection_pool
    settings: dict[str, Any] = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if (name in _CONNECTION_SETTINGS or name.startswith("ssl_")) and value is not None
    }
    settings["socket_timeout"] = timeout_s
    if "path" not in settings:
        settings["socket_connect_timeout"] = timeout_s
    has_tls = issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    if isinstance(pool, SentinelConnectionPool):
        sentinels = redis.sentinel.Sentinel([], sentinel_kwargs={})  # type: ignore[no-untyped-call]
        sentinels.sentinels = [blocking_client(one, timeout_s=timeout_s) for one in pool.sentinel_manager.sentinels]
        return redis.Redis(connection_pool=FollowingPool(pool, sentinels, ssl=has_tls, **settings))
    connection_class: type[redis.Connection | redis.UnixDomainSocketConnection] = redis.Connection
    if has_tls:
        connection_class = redis.SSLConnection
    elif "path" in settings:
        connection_class = redis.UnixDomainSocketConnection
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=connection_class, **settings))
