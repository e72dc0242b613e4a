"""A connection to Redis that reports every loss as `ConnectionError`."""

from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost


class ClosedConnectionTold(AbstractConnection):
    """Raises `ConnectionError` instead of uvloop's `RuntimeError` for a write after the other side has closed."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command, as redis-py does."""
        try:
            await super().send_packed_command(*args, **kwargs)
        except RuntimeError as error:
            raise ConnectionLost(str(error)) from error
