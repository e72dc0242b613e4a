"""Connections to Redis, by its address. A closed or frozen connection is always reported as a lost connection."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url

from everpost.errors import SettingsError
from everpost.queue.connection import ClosedConnectionTold
from everpost.queue.master_pool import ASK_S, MasterConnection, MasterPool, MasterTLSConnection, Sentinels

UNREADABLE = (
    "EVERPOST_REDIS cannot be read. An address is like redis://127.0.0.1:6379/0, rediss://:PASSWORD@host:6379/0, "
    "unix:///run/redis.sock or redis+sentinel://host:26379,other:26379/mymaster, with special characters of the "
    "password percent-encoded."
)
BY_SENTINEL = "+sentinel"
SENTINEL_PORT = 26379
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")


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
            pool: BlockingConnectionPool = _master_pool(scheme.removesuffix(BY_SENTINEL), rest, options)
        else:
            pool = BlockingConnectionPool.from_url(address, **options)
            kind = pool.connection_class
            pool.connection_class = type(kind.__name__, (ClosedConnectionTold, kind), {})
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but refuses unknown parameters
    except (ValueError, TypeError):  # the errors' texts may contain a part of the password
        raise SettingsError(UNREADABLE) from None
    return pool


def _master_pool(scheme: str, rest: str, options: Mapping[str, Any]) -> MasterPool:
    """The pool of `[USER:PASSWORD@]HOST[:PORT],.../MASTER[/DB][?...]`; user and password are those of Redis.

    Raises:
        ValueError: The address has no such form.
    """
    if scheme not in {"redis", "rediss"} or "#" in rest:
        raise ValueError(scheme)
    place, _, query = rest.partition("?")
    login, at, place = place.rpartition("@")
    hosts, _, path = place.partition("/")
    master, _, database = path.partition("/")
    if not master or (database and not database.isdecimal()):
        raise ValueError(path)
    given = dict(parse_qsl(query))
    login_of_sentinels = {name.removeprefix("sentinel_"): given.pop(name) for name in SENTINEL_LOGIN if name in given}
    of_redis = {**options, **parse_url(f"{scheme}://{login}{at}host/{database}?{urlencode(given)}")}
    del of_redis["host"]
    of_redis["connection_class"] = MasterConnection
    of_sentinels = {"socket_timeout": ASK_S, "socket_connect_timeout": ASK_S, **login_of_sentinels}
    if scheme == "rediss":
        of_redis["connection_class"] = MasterTLSConnection
        of_sentinels |= {"ssl": True, **{name: value for name, value in of_redis.items() if name.startswith("ssl_")}}
    places = [_host_and_port(host) for host in hosts.split(",")]
    return MasterPool(master, Sentinels(places, sentinel_kwargs=of_sentinels), **of_redis)


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.username is not None or parts.path:
        raise ValueError(text)
    return parts.hostname, parts.port or SENTINEL_PORT
