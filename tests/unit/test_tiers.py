"""Which data a retry uses, and which tier its answer names."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from everpost.actions.tiers import REDIS, Found, Tiers, find_in_tiers
from everpost.errors import TaskUnreadable
from everpost.task.place import Place, Position

IN_REDIS = Position(task_id="t", place=Place.HISTORY, status="failed", chain_id="t")
STORED = Position(task_id="t", place=Place.HISTORY, status="unknown", chain_id="root", generation=1)


class Fixed:
    """A tier that has what it is given, and tells what it was asked."""

    def __init__(self, found: Found | None) -> None:
        self.found = found
        self.asked: list[str] = []

    async def find(self, task_ids: Sequence[str]) -> Mapping[str, Found]:
        self.asked += task_ids
        return {} if self.found is None else {"t": self.found}


def tiers_of(in_redis: Found | None, stored: Found | None) -> tuple[Fixed, Fixed]:
    return Fixed(in_redis), Fixed(stored)


async def found_in(tiers: Tiers, *, names_redis: bool = True) -> Found | None:
    return (await find_in_tiers(tiers, ["t"], names_redis=names_redis)).get("t")


def redis_has(task_data: bytes = b"{}") -> Found:
    return Found(position=IN_REDIS, source=REDIS, task_data=task_data)


def store_has(task_data: bytes = b"{}", *, is_rebuilt: bool = False) -> Found:
    return Found(position=STORED, source="sqlite", task_data=task_data, priority=3, is_rebuilt=is_rebuilt)


async def test_data_in_both_comes_from_the_store_although_the_answer_names_redis() -> None:
    found = await found_in(tiers_of(redis_has(b"{}"), store_has(b"{}")))
    assert found is not None
    assert (found.source, found.position, found.priority, found.differs) == (REDIS, STORED, 3, False)


async def test_other_data_in_redis_is_not_used_and_told() -> None:
    found = await found_in(tiers_of(redis_has(b'{"forged":1}'), store_has(b'{"own":1}')))
    assert found is not None
    assert (found.task_data, found.differs) == (b'{"own":1}', True)


@pytest.mark.parametrize("stored", [store_has(b'{"part":1}', is_rebuilt=True), store_has(b"")])
@pytest.mark.parametrize("names_redis", [True, False])
async def test_whole_data_of_redis_comes_before_rebuilt_data_or_none(stored: Found, names_redis: bool) -> None:
    found = await found_in(tiers_of(redis_has(b'{"whole":1}'), stored), names_redis=names_redis)
    assert found is not None
    assert (found.task_data, found.is_rebuilt, found.position) == (b'{"whole":1}', False, STORED)


async def test_rebuilt_data_is_used_if_redis_has_none() -> None:
    found = await found_in(tiers_of(redis_has(b""), store_has(b'{"part":1}', is_rebuilt=True)))
    assert found is not None
    assert (found.source, found.task_data, found.is_rebuilt, found.differs) == (REDIS, b'{"part":1}', True, False)


async def test_a_message_that_cannot_be_published_is_refused_whatever_redis_has() -> None:
    unreadable = Found(position=STORED, source="sqlite", refusal=TaskUnreadable("t", "no"))
    found = await found_in(tiers_of(redis_has(b'{"forged":1}'), unreadable))
    assert found is not None
    assert found.refusal is not None
    assert not found.differs


async def test_a_task_in_only_one_tier_is_found_there() -> None:
    assert await found_in(tiers_of(redis_has(), None)) == redis_has()
    assert await found_in(tiers_of(None, store_has())) == store_has()
    assert await found_in(tiers_of(None, None)) is None


async def test_bulk_work_asks_redis_only_for_what_the_store_does_not_have_whole() -> None:
    tiers = redis, store = tiers_of(redis_has(), store_has())
    assert await found_in(tiers, names_redis=False) == store_has()
    assert (redis.asked, store.asked) == ([], ["t"])


@pytest.mark.parametrize("names_redis", [True, False])
async def test_a_task_that_leaves_redis_meanwhile_is_looked_for_in_the_store_again(names_redis: bool) -> None:
    redis, store = tiers_of(None, None)

    class Moving(Fixed):
        async def find(self, task_ids: Sequence[str]) -> Mapping[str, Found]:
            await asyncio.sleep(0)  # until the store has been asked
            store.found = store_has()
            return await super().find(task_ids)

    assert await found_in((Moving(redis.found), store), names_redis=names_redis) == store_has()
