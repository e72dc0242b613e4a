"""The timelines of PostgreSQL that processes report in Redis."""

from collections.abc import Awaitable
from typing import cast

from everpost.queue.keys import TIMELINE
from everpost.testing import everpost_stack

KEY = f"{TIMELINE}7"


async def test_the_newest_timeline_is_told_to_all_and_forgotten_some_time_after_its_last_use() -> None:
    async with everpost_stack(workers=0) as stack:
        note = stack.queue.timelines.note
        told = [await note("7", timeline) for timeline in ("0000000A", "0000000B", "0000000A", "0000000B")]
        assert told == ["0000000A", "0000000B", "0000000B", "0000000B"]
        assert await note("8", "00000001") == "00000001"
        assert 0 < await stack.queue.redis.ttl(KEY) <= 600


async def test_what_another_program_wrote_there_is_replaced() -> None:
    values: tuple[str | bytes | dict[str, str], ...] = ("", "FFFFFFFFF", "zzzzzzzz", b"\xff" * 8, {"a": "hash"})
    async with everpost_stack(workers=0) as stack:
        for value in values:
            await stack.queue.redis.delete(KEY)
            if isinstance(value, dict):
                await cast("Awaitable[int]", stack.queue.redis.hset(KEY, mapping=value))
            else:
                await stack.queue.redis.set(KEY, value)
            assert await stack.queue.timelines.note("7", "00000001") == "00000001", value
            assert await stack.queue.redis.get(KEY) == b"00000001", value
