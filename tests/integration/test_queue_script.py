"""A script's own connection to Redis: emptied, started anew or frozen, the next call gets the next call's answer."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from service.embedded import EmbeddedValkey
from service.queue.client import connection_pool
from service.queue.script import ScriptConnection

ECHO = "return {KEYS[1], ARGV[1], ARGV[2]}"


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = await EmbeddedValkey(tmp_path).start()
    yield server
    await server.stop()


@pytest.fixture
async def echo(valkey: EmbeddedValkey) -> AsyncIterator[ScriptConnection]:
    connection = ScriptConnection(connection_pool(valkey.address, socket_timeout=0.2), ECHO)
    yield connection
    await connection.close()


async def test_a_script_the_server_does_not_know_is_sent_to_it(echo: ScriptConnection) -> None:
    assert await echo.run(["key"], ["文", b"\x00\xff"]) == [b"key", "文".encode(), b"\x00\xff"]
    assert await echo.run(["key"], [1, ""]) == [b"key", b"1", b""]


async def test_a_server_that_started_anew_since_the_last_call_is_found(
    echo: ScriptConnection, valkey: EmbeddedValkey
) -> None:
    await echo.run(["key"], [1, 1])
    assert valkey.child is not None
    await valkey.child.stop()
    with pytest.raises(RedisError):
        await echo.run(["key"], [2, 2])
    await valkey.start()
    assert await echo.run(["key"], [3, 3]) == [b"key", b"3", b"3"]
    await valkey.child.stop()
    await valkey.start()
    assert await echo.run(["key"], [4, 4]) == [b"key", b"4", b"4"]


async def test_a_late_answer_of_a_frozen_server_is_nobody_elses(echo: ScriptConnection, valkey: EmbeddedValkey) -> None:
    await echo.run(["key"], [1, 1])
    assert valkey.child is not None
    os.kill(valkey.child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisError):
            await asyncio.wait_for(echo.run(["key"], ["late", "late"]), 1)
    finally:
        os.kill(valkey.child.pid, signal.SIGCONT)
    assert await echo.run(["key"], [2, 2]) == [b"key", b"2", b"2"]
