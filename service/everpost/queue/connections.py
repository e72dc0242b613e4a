"""Connections of their own for the commands that are sent all the time."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError


class OwnConnection:
    """Sends commands, one call at a time.

    redis-py's client takes a connection out of its pool for each call and puts the arguments together in Python: 40 us
    more a call, and 0.6 us more an argument. A connection that failed or timed out is closed, and made anew by the next
    call. How long an answer may take is up to the caller, who cancels the call: redis-py's own limit makes an asyncio
    task of each write, 25 us more.

    Args:
        pool: Gives the connection's address and options; the connection does not belong to it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None

    async def ask(self, *command: str | bytes | int) -> Any:
        """The server's answer; the command is sent once more if the connection was lost, so it may run twice.

        Raises:
            RedisError: The server is away, slow or unwilling; the command may have run.
        """
        try:
            return await self._ask(command)
        except ConnectionLost:  # the server may only have started anew since the last call
            return await self._ask(command)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _ask(self, command: tuple[str | bytes | int, ...]) -> Any:
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub has tuples of one part only
        await self._connection.send_packed_command(packed)
        return await self._connection.read_response()


class ScriptConnection:
    """Runs one Lua script over a connection of its own; like `OwnConnection`, one call at a time."""

    def __init__(self, pool: ConnectionPool, script: str) -> None:
        self._connection = OwnConnection(pool)
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """The script's answer; raises as `OwnConnection.ask`."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._connection.ask("EVALSHA", self._sha, *rest)
        except NoScriptError:
            return await self._connection.ask("EVAL", self._script, *rest)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
