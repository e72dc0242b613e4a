"""The address of a Redis behind Sentinels: docs/redis.md describes its parts."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import parse_url

from everpost.queue.master_pool import ASK_S, MasterConnection, MasterPool, MasterTLSConnection, Sentinels

SENTINEL_PORT = 26379
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")


def master_pool(scheme: str, rest: str, options: Mapping[str, Any]) -> MasterPool:
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
