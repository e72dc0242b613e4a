"""Connections of their own for the scripts that run all the time."""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError


class ScriptConnection:
    """Runs one Lua script over a connection of its own. Calls take turns.

    redis-py's client takes a connection out of its pool for each call and joins the arguments in Python. That costs
    40 us more a call and 0.6 us more an argument. A connection that failed or timed out is closed, and the next call
    opens it again. The caller limits how long an answer may take, by cancelling the call: redis-py's own limit makes an
    asyncio task of each write, which costs 25 us more.

    Args:
        pool: Gives the connection's address and options. The connection is not one of the pool's.
        may_repeat: The script may run twice: it is sent again when the connection was lost.
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
            RedisError: The server is away, slow or unwilling; the script may have run.
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
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub has tuples of one part only
        try:
            await self._connection.send_packed_command(packed)
            return await self._connection.read_response()
        except ConnectionLost:  # the server may have started anew since the last call
            if not self._may_repeat:
                raise
            await self._connection.send_packed_command(packed)
            return await self._connection.read_response()
