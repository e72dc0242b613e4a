"""What others may have written under the keys of arq and Everpost: what is no word of ours is skipped, and told of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

log = structlog.get_logger("everpost.queue")

SET_ASIDE = "everpost:set-aside:"
LONGEST_SAID = 4_096  # bytes of what a worker says of itself
LONGEST_NAME = 256
MOST_WORKERS = 1_000
MOST_SLOTS = 1_000_000
MOST_AHEAD_MS = 3_600_000  # by which the clock of a worker's host may differ from ours
_SCRIPT = (Path(__file__).parent / "scripts" / "set_aside.lua").read_text(encoding="utf-8")


class Said(msgspec.Struct, frozen=True):
    """What every worker says of itself, at least; see `workers/everpost_workers/main.py`."""

    worker: str
    until_ms: int
    slots: int = 0
    running: int = 0
    paused: bool = False
    consuming: bool = False
    trouble: str | None = None
    relay_trouble: str | None = None
    version: str = ""
    python: str = ""
    started_at: str = ""


def read_said(value: bytes, now_ms: int) -> dict[str, Any] | None:
    """What a worker said; None if no worker can have said it."""
    try:
        said = msgspec.json.decode(value, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    counts = (said.slots, said.running)
    is_possible = said.until_ms <= now_ms + MOST_AHEAD_MS and all(0 <= count <= MOST_SLOTS for count in counts)
    return msgspec.json.decode(value) if is_possible else None


def is_wrong_type(error: Exception) -> bool:
    """Whether a command or script was refused because a key is of another type; Redis 6 wraps what a script meets."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


async def set_aside(redis: Redis, types: Mapping[str, str]) -> Sequence[str]:
    """Move the keys that are of another type than given out of the way; which they were. They can still be looked at.

    Raises:
        RedisError, OSError, TimeoutError: Redis is away, or refuses.
    """
    moved: list[bytes] = await redis.eval(_SCRIPT, len(types), *types, *types.values())  # type: ignore[misc]  # typed for both clients
    keys = [key.decode() for key in moved]
    for key in keys:
        log.error("redis.key_of_wrong_type", key=key, wanted=types[key], moved_to=f"{SET_ASIDE}{key}")
    return keys
