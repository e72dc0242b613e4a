"""Moves shared keys of arq and Everpost out of the way if other programs overwrote them with another type."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from everpost.queue.keys import SET_ASIDE

log = structlog.get_logger("everpost.queue")

_SCRIPT = (Path(__file__).parent / "scripts" / "set_aside.lua").read_text(encoding="utf-8")


def is_wrong_type(error: Exception) -> bool:
    """Whether Redis refused because a key has another type; Redis 6 wraps that error in a script's."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


async def set_aside(redis: Redis, types: Mapping[str, str]) -> Sequence[str]:
    """Move the keys of another type to `everpost:set-aside:`, and return their names. Nothing is deleted.

    Raises:
        RedisError, OSError, TimeoutError: Redis is away, or refuses.
    """
    moved: list[bytes] = await redis.eval(_SCRIPT, len(types), *types, *types.values())  # type: ignore[misc]  # typed for both clients
    keys = [key.decode() for key in moved]
    for key in keys:
        log.error("redis.key_of_wrong_type", key=key, wanted=types[key], moved_to=f"{SET_ASIDE}{key}")
    return keys
