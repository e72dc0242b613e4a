"""A Redis that is there and refuses, told from one that is away."""

import msgspec
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost


class Refusal(msgspec.Struct, frozen=True):
    """What Redis said, and whether it was the password that it refused."""

    words: str
    is_password: bool


def refusal_of(error: BaseException) -> Refusal | None:
    """What Redis refused with; None if it did not answer. redis-py wraps what it met while it connected."""
    inner = error.args[0] if isinstance(error, ConnectionLost) and error.args else error
    if isinstance(inner, AuthenticationError):
        return Refusal(str(inner), is_password=True)
    return Refusal(str(inner), is_password=False) if isinstance(inner, ResponseError) else None
