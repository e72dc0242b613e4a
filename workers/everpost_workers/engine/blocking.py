"""A blocking client of the server that a pool is connected to, for the thread that renews leases."""

import contextlib
from typing import Any

import redis
import redis.asyncio
import redis.sentinel
from redis.asyncio.sentinel import SentinelConnectionPool

_CONNECTION_SETTINGS = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name"}
)


class NewestOfSentinels(redis.sentinel.Sentinel):
    """Believes the Sentinel with the newest configuration. redis-py believes the first, which may be cut off."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The master's address.

        Raises:
            MasterNotFoundError: No Sentinel answers, or knows a master that is up.
        """
        states: list[dict[str, Any]] = []
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError, KeyError):
                states.append(sentinel.sentinel_masters()[service_name])  # type: ignore[no-untyped-call]
        newest = max((state["config-epoch"] for state in states), default=None)
        for state in states:
            is_up = self.check_master_state(state, service_name)  # type: ignore[no-untyped-call]
            if state["config-epoch"] == newest and is_up:
                return state["ip"], state["port"]
        raise redis.sentinel.MasterNotFoundError(service_name)


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
        sentinels = NewestOfSentinels([], sentinel_kwargs={})  # type: ignore[no-untyped-call]
        sentinels.sentinels = [blocking_client(one, timeout_s=timeout_s) for one in pool.sentinel_manager.sentinels]
        return redis.Redis(connection_pool=FollowingPool(pool, sentinels, ssl=has_tls, **settings))
    connection_class: type[redis.Connection | redis.UnixDomainSocketConnection] = redis.Connection
    if has_tls:
        connection_class = redis.SSLConnection
    elif "path" in settings:
        connection_class = redis.UnixDomainSocketConnection
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=connection_class, **settings))
