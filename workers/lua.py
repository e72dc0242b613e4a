"""The engine's Lua scripts: each is one atomic step in Redis, described at the top of its file."""

import asyncio
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

_FOLDER = Path(__file__).with_name("scripts")

ANSWER_S = 5.0  # a Redis that is silent for longer is away

REDIS_TROUBLE = (RedisError, OSError, TimeoutError)
"""What a Redis that is away, starting, read-only or full raises; asyncio's TimeoutError is the built-in one."""


@cache
def script_source(name: str) -> str:
    """The text of `scripts/<name>.lua`."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """The scripts as calls over one connection pool."""

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool
        self._scripts: dict[str, AsyncScript] = {}

    async def call(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run `scripts/<name>.lua`.

        Raises:
            RedisError, OSError, TimeoutError: See `REDIS_TROUBLE`; the script may have run all the same.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._pool.register_script(script_source(name))
        async with asyncio.timeout(ANSWER_S):
            return await script(keys=keys, args=arguments)
