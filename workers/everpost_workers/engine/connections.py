"""Connections of the engine's own for scripts that are called all the time."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import NoScriptError


class ScriptConnection:
    """Runs one Lua script over a connection of its own, one call at a time.

    redis-py's client takes a connection out of its pool for each call and encodes the arguments in Python. That costs
    40 us more a call and 0.6 us more an argument. A connection that failed is closed, and the next call opens it again.
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
