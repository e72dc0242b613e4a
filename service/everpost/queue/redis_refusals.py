"""Distinguishes a Redis that refuses from one that is away."""

import msgspec
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost


class Refusal(msgspec.Struct, frozen=True):
    """Redis's refusal, and whether it refused the password."""

    words: str
    is_password: bool


def refusal_of(error: BaseException) -> Refusal | None:
    """Redis's refusal in an error; None if it did not answer. redis-py wraps errors of its connecting."""
    inner = error.args[0] if isinstance(error, ConnectionLost) and error.args else error
    if isinstance(inner, AuthenticationError):
        return Refusal(str(inner), is_password=True)
    return Refusal(str(inner), is_password=False) if isinstance(inner, ResponseError) else None
