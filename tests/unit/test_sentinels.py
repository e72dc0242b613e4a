"""Redis by Sentinel, without a server: the address, and which of several answers counts."""

from typing import Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError

from everpost.errors import SettingsError
from everpost.queue.master_pool import MasterPool, SentinelsSilentError, _newest
from everpost.queue.pool import connection_pool
from everpost.redis_address import shown_address


def state(port: int, epoch: int, *, is_down: bool = False) -> dict[str, Any]:
    return {
        "ip": "10.0.0.1",
        "port": port,
        "config-epoch": epoch,
        "is_master": True,
        "is_sdown": is_down,
        "is_odown": False,
    }


def test_the_answer_with_the_newest_configuration_counts() -> None:
    assert _newest([state(1, 4), state(2, 5), state(1, 4)], []) == ("10.0.0.1", 2)


def test_a_master_that_one_sentinel_cannot_reach_is_up_if_another_can() -> None:
    assert _newest([state(1, 5, is_down=True), state(1, 5)], []) == ("10.0.0.1", 1)


def test_an_older_master_does_not_stand_in_for_one_that_is_down() -> None:
    with pytest.raises(MasterNotFoundError, match="down"):
        _newest([state(1, 4), state(2, 5, is_down=True)], [])


def test_sentinels_that_refuse_are_told_from_silent_ones() -> None:
    with pytest.raises(SentinelsSilentError):
        _newest([], [])
    with pytest.raises(MasterNotFoundError, match="NOAUTH"):
        _newest([], [AuthenticationError("NOAUTH")])


def pool_of(address: str) -> MasterPool:
    pool = connection_pool(address)
    assert isinstance(pool, MasterPool)
    return pool


def servers(pool: MasterPool) -> list[tuple[str, int]]:
    options = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    return [(one["host"], one["port"]) for one in options]


def test_an_address_has_several_sentinels_two_logins_and_a_database() -> None:
    pool = pool_of(
        "redis+sentinel://me:p%40ss%2C@a,b:2,[::1]:3/main/4?sentinel_username=us&sentinel_password=q%26&socket_timeout=7"
    )
    assert servers(pool) == [("a", 26379), ("b", 2), ("::1", 3)]
    assert pool.service_name == "main"
    kept = {name: pool.connection_kwargs[name] for name in ("username", "password", "db", "socket_timeout")}
    assert kept == {"username": "me", "password": "p@ss,", "db": 4, "socket_timeout": 7}
    login = pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    assert (login["username"], login["password"]) == ("us", "q&")


def test_tls_is_spoken_with_redis_and_with_its_sentinels() -> None:
    pool = pool_of("rediss+sentinel://a/main?ssl_ca_certs=/ca.pem")
    of_sentinel = pool.sentinel_manager.sentinels[0].connection_pool
    for kind, options in (
        (pool.connection_class, pool.connection_kwargs),
        (of_sentinel.connection_class, of_sentinel.connection_kwargs),
    ):
        assert "SSL" in repr(kind.__mro__)
        assert (options["ssl_ca_certs"], options["ssl_check_hostname"]) == ("/ca.pem", True)


@pytest.mark.parametrize(
    "address",
    [
        "redis+sentinel://a:1",
        "redis+sentinel:///main",
        "redis+sentinel://a,/main",
        "redis+sentinel://a:secret/main",
        "unix+sentinel://a/main",
        "redis+sentinel://:secret/word@a/main",
        "redis+sentinel://a/main/secret",
        "redis+sentinel://a/main?secret=word",
    ],
)
def test_an_address_of_sentinels_that_cannot_be_read_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(SettingsError, match="EVERPOST_REDIS cannot be read") as refused:
        connection_pool(address)
    assert "secret" not in refused.value.message


def test_an_address_of_sentinels_is_shown_without_its_secrets() -> None:
    address = "redis+sentinel://me:pass@a:1,b:2/main/0?sentinel_password=pass"
    assert shown_address(address) == "redis+sentinel://***@a:1,b:2/main/0?sentinel_password=***"
