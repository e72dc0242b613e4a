"""The engine's Lua scripts: each is one atomic step in Redis, described at the top of its file."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import hiredis
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, ResponseError

_FOLDER = Path(__file__).with_name("scripts")

ANSWER_S = 2.0  # a Redis that does not answer in this time counts as away, as for the pool's connections

OnWrongType = Callable[[ArqRedis, Mapping[str, str]], Awaitable[Sequence[str]]]
"""Given the types that keys should have, moves keys of another type out of the way, and answers which."""


@cache
def script_source(name: str) -> str:
    """The text of `scripts/<name>.lua`."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """The scripts as calls to the server of one pool.

    Args:
        own_connections: The calls go over connections of their own, without the pool's retries. The pool costs 40 us a
            call and 0.6 us an argument, more than a small claim itself.
        zsets: Keys that the scripts take for sorted sets.
        on_wrong_type: Called when one of them has another type. If it has moved a key away, the script runs again.
    """

    def __init__(
        self,
        pool: ArqRedis,
        *,
        zsets: Sequence[str] = (),
        own_connections: bool = False,
        on_wrong_type: OnWrongType | None = None,
    ) -> None:
        self._pool = pool
        self._types = dict.fromkeys(zsets, "zset")
        self._on_wrong_type = on_wrong_type
        self._own_connections = own_connections
        self._scripts: dict[str, AsyncScript] = {}
        self._idle: dict[str, list[ScriptConnection]] = {}

    async def call(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run `scripts/<name>.lua`.

        Raises:
            RedisError, OSError, TimeoutError: See `REDIS_TROUBLE`; the script may have run all the same.
        """
        try:
            return await self._call(name, keys, arguments)
        except ResponseError as error:
            if "READONLY" in str(error):  # a demoted master; Redis 6 wraps a command's error in the script's
                await self._leave_server()
            if self._on_wrong_type is None or "WRONGTYPE" not in str(error):
                raise
            if not await self._on_wrong_type(self._pool, self._types):
                raise
            return await self._call(name, keys, arguments)

    async def _call(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        run = self._run_past_the_pool if self._own_connections else self._run
        async with asyncio.timeout(ANSWER_S):
            return await run(name, keys, arguments)

    async def close(self) -> None:
        """Close the connections."""
        for connection in itertools.chain(*self._idle.values()):
            await connection.close()

    async def _leave_server(self) -> None:
        """Close idle connections: the next ones are made to the master that the address, or Sentinel, names then."""
        await self.close()
        await self._pool.connection_pool.disconnect(inuse_connections=False)

    async def _run(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._pool.register_script(script_source(name))
        return await script(keys=keys, args=arguments)

    async def _run_past_the_pool(self, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        idle = self._idle.setdefault(name, [])
        pool = self._pool.connection_pool
        connection = idle.pop() if idle else ScriptConnection(pool, script_source(name))
        try:
            return await connection.run(keys, arguments)
        finally:
            idle.append(connection)  # if the call failed it is closed, and the next call opens it


class ScriptConnection:
    """Runs one Lua script over a connection of its own, one call at a time.

    redis-py's client takes a connection out of its pool for each call and encodes the arguments in Python. `Scripts`
    says what that costs. A connection that failed is closed, and the next call opens it again.
    No call is repeated: the script may have run. The caller limits the time by cancelling the call, because redis-py's
    own limit makes an asyncio task of each write, which costs 25 us.

    Args:
        pool: Gives the connection's address and options; the connection does not belong to it.
    """

    def __init__(self, pool: ConnectionPool, script: str) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """The script's answer.

        Raises:
            RedisError, OSError: The server is away or refuses; the script may have run all the same.
        """
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._ask("EVALSHA", self._sha, *rest)
        except NoScriptError:
            return await self._ask("EVAL", self._script, *rest)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _ask(self, *command: Any) -> Any:
        await self._connection.send_packed_command(hiredis.pack_command(command))
        return await self._connection.read_response()
