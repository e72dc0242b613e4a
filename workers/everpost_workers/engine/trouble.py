"""Errors that mean trouble with Redis, and their text."""

from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost

REDIS_TROUBLE = (RedisError, OSError, TimeoutError)
"""Raised when Redis is away, starting, read-only or full. asyncio's TimeoutError is the built-in one."""


def trouble_text(error: BaseException) -> str:
    """The error for a log line; tells a Redis that refuses from one that is away."""
    inner = error.args[0] if isinstance(error, ConnectionLost) and error.args else error  # redis-py wraps it
    if isinstance(inner, AuthenticationError):
        return f"it refuses the password ({inner})"
    return f"it refuses a command ({inner})" if isinstance(inner, ResponseError) else repr(error)
