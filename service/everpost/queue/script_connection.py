"""Dedicated connections for scripts that run often."""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError


class ScriptConnection:
    """Runs one Lua script over its own connection. Calls take turns.

    redis-py's client takes a connection from its pool for each call, and packs the arguments in Python. That costs 40
    us more per call and 0.6 us more per argument. After a failure or time-out, the connection is closed, and the next
    call opens it again. The caller limits the wait by cancelling the call, because redis-py's own limit makes an
    asyncio task per write, which costs 25 us more.

    Args:
        pool: Gives the connection's address and options; the connection is not part of the pool.
        may_repeat: The script may run twice, so it is sent again if the connection was lost.
    """

    def __init__(self, pool: ConnectionPool, script: str, *, may_repeat: bool = True) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._may_repeat = may_repeat
        self._turn = asyncio.Lock()

    async def run(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """The script's answer.

        Raises:
            RedisError: The server is unreachable or slow, or it refuses; the script may have run.
        """
        rest = (len(keys), *keys, *arguments)
        async with self._turn:
            try:
                return await self._send("EVALSHA", self._sha, *rest)
            except NoScriptError:
                return await self._send("EVAL", self._script, *rest)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _send(self, *command: str | bytes | int) -> Any:
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub only knows tuples of one element
        try:
            await self._connection.send_packed_command(packed)
            return await self._connection.read_response()
        except ConnectionLost:  # the server may have restarted since the last call
            if not self._may_repeat:
                raise
            await self._connection.send_packed_command(packed)
            return await self._connection.read_response()
