"""The timeline's part of the contract: what ended in each minute, from sums that grow."""

import asyncio

from everpost.clock import DAY_MS
from everpost.metrics import ENDED, PUBLISH_DURATION, QUEUE_WAIT, Tally
from everpost.store import Store
from everpost.store.timeline import BUCKETS, KEPT_S, Counts, quantile_s, sums_of
from store_contract.test_changes import NOW_MS

NOW_S = NOW_MS // 60_000 * 60


def sums(ends: int, *waits: int) -> Counts:
    return Counts(ends={"success": ends}, waits=[*waits, *[0] * (BUCKETS - len(waits))], attempts=[0] * BUCKETS)


async def ends_of(store: Store) -> dict[int, int]:
    found = await store.timeline.slices(NOW_S - 3600, NOW_S + 3600)
    return {one.began_s - NOW_S: one.counts.ends.get("success", 0) for one in found}


async def test_each_minute_has_what_the_sums_grew_by(store: Store, other: Store) -> None:
    await store.timeline.add(sums(100, 7), NOW_S)
    assert await ends_of(store) == {}
    await store.timeline.add(sums(103, 8), NOW_S + 5)
    await other.timeline.add(sums(104, 9), NOW_S + 59)
    await other.timeline.add(sums(104, 9), NOW_S + 60)
    await other.timeline.add(sums(110, 9), NOW_S + 65)
    assert await ends_of(store) == {0: 4, 60: 6}
    (first,) = await store.timeline.slices(NOW_S, NOW_S + 60)
    assert first.counts.waits[0] == 2


async def test_of_several_workers_that_look_at_the_same_sums_one_adds_them(store: Store, other: Store) -> None:
    await store.timeline.add(sums(1), NOW_S)
    await asyncio.gather(*(each.timeline.add(sums(5), NOW_S) for each in (store, other, store, other)))
    assert await ends_of(store) == {0: 4}


async def test_sums_that_began_anew_count_from_zero(store: Store) -> None:
    """Redis was emptied."""
    await store.timeline.add(sums(100), NOW_S)
    await store.timeline.add(sums(3), NOW_S)
    assert await ends_of(store) == {0: 3}


async def test_old_minutes_are_forgotten(store: Store) -> None:
    await store.timeline.add(sums(1), NOW_S)
    await store.timeline.add(sums(2), NOW_S)
    await store.care.forget_expired(DAY_MS, (NOW_S + KEPT_S - 60) * 1000)
    assert await ends_of(store) == {0: 1}
    await store.care.forget_expired(DAY_MS, (NOW_S + KEPT_S + 60) * 1000)
    assert await ends_of(store) == {}


def test_the_sums_leave_callbacks_out() -> None:
    tally = Tally()
    tally.count(ENDED, "douyin", "success", "")
    tally.count(ENDED, "bilibili", "success", "")
    tally.count(ENDED, "callback", "success", "")
    tally.observe(QUEUE_WAIT, [0.0004, 2.0], "5")
    tally.observe(PUBLISH_DURATION, [4_000.0], "douyin")
    tally.observe(PUBLISH_DURATION, [0.1], "callback")
    found = sums_of(tally.take())
    assert found.ends == {"success": 2}
    assert found.waits == [1, 0, 0, 0, 0, 0, 0, 1, *[0] * 7]
    assert found.attempts == [*[0] * 14, 1]


def test_a_quantile_lies_in_its_bucket() -> None:
    assert quantile_s([0] * BUCKETS, 0.5) is None
    waits = [98, 0, 0, 0, 0, 2, *[0] * 9]
    assert quantile_s(waits, 0.5) == 0.001 * 50 / 98
    assert quantile_s(waits, 0.99) == 0.1 + 0.4 * 0.5
    assert quantile_s([*[0] * 14, 3], 0.99) == 3600
