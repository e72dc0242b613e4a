"""The engine's Lua scripts: each is one atomic step in Redis, described at the top of its file."""

import asyncio
import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis
from redis.exceptions import RedisError

from service.queue.connections import ScriptConnection

_FOLDER = Path(__file__).with_name("scripts")

ANSWER_S = 5.0  # a Redis that is silent for longer is away

REDIS_TROUBLE = (RedisError, OSError, TimeoutError)
"""What a Redis that is away, starting, read-only or full raises; asyncio's TimeoutError is the built-in one."""


@cache
def script_source(name: str) -> str:
    """The text of `scripts/<name>.lua`."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """The scripts as calls, each over a connection of its own to the server of one pool."""

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool.connection_pool
        self._idle: dict[str, list[ScriptConnection]] = {}

    async def call(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run `scripts/<name>.lua`.

        Raises:
            RedisError, OSError, TimeoutError: See `REDIS_TROUBLE`; the script may have run all the same.
        """
        idle = self._idle.setdefault(name, [])
        connection = idle.pop() if idle else ScriptConnection(self._pool, script_source(name), may_repeat=False)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await connection.run(keys, arguments)
        finally:
            idle.append(connection)  # closed, if the call failed; the next one opens it

    async def close(self) -> None:
        """Close the connections."""
        for connection in itertools.chain(*self._idle.values()):
            await connection.close()
