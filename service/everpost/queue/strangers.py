"""Keys of arq and Everpost that other programs overwrote with another type: they are moved out of the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

log = structlog.get_logger("everpost.queue")

SET_ASIDE = "everpost:set-aside:"
LONGEST_NAME = 256  # bytes of a name that is read from Redis
_SCRIPT = (Path(__file__).parent / "scripts" / "set_aside.lua").read_text(encoding="utf-8")


def is_wrong_type(error: Exception) -> bool:
    """Whether a command or script was refused because a key is of another type; Redis 6 wraps what a script meets."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


async def set_aside(redis: Redis, types: Mapping[str, str]) -> Sequence[str]:
    """Move the keys that are not of the type given to `everpost:set-aside:`; their names. Nothing is deleted.

    Raises:
        RedisError, OSError, TimeoutError: Redis is away, or refuses.
    """
    moved: list[bytes] = await redis.eval(_SCRIPT, len(types), *types, *types.values())  # type: ignore[misc]  # typed for both clients
    keys = [key.decode() for key in moved]
    for key in keys:
        log.error("redis.key_of_wrong_type", key=key, wanted=types[key], moved_to=f"{SET_ASIDE}{key}")
    return keys
