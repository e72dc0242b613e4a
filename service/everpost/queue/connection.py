"""A connection to Redis that reports every loss as `ConnectionError`."""

from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost


class ClosedConnectionTold(AbstractConnection):
    """Raises `ConnectionError` too for a write after the other side, or another task of this process, has closed.

    uvloop raises `RuntimeError` for the first, and redis-py trips over its own None for the second.
    """

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command, as redis-py does."""
        try:
            await super().send_packed_command(*args, **kwargs)
        except RuntimeError as error:
            raise ConnectionLost(str(error)) from error
        except AttributeError as error:
            if error.obj is not None:
                raise
            raise ConnectionLost("the connection was closed meanwhile") from error
