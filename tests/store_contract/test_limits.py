"""Limits' part of the contract: what people set at run time, and when attempts began."""

import asyncio

import msgspec

from everpost.limits import Limits, Rate
from everpost.store import Store
from everpost.store.limits import CLOSED, Use
from everpost.task.holds import NOTHING_SET, Hold, WaitKind, with_hold, with_limits, without_hold

NOW_MS = 1_750_000_000_000
LANE = "douyin/店铺 /x"
LIMITS = Limits(concurrency=2, rates=(Rate(count=10, per_s=60.5),), gap_s=0.5, daily=50)
PAUSED = Hold(kind=WaitKind.PAUSED, reason="它坏了", since="2026-01-01T00:00:00.000Z", by="mei")


async def test_nothing_is_set_in_a_new_store(store: Store) -> None:
    stored = await store.limits.find()
    assert (stored.version, stored.scopes) == (0, {})
    assert await store.limits.version() == 0
    assert await store.limits.find_state(LANE) == NOTHING_SET


async def test_limits_and_a_hold_of_one_scope_do_not_disturb_each_other(store: Store, other: Store) -> None:
    await store.limits.change(LANE, with_limits(LIMITS), NOW_MS)
    state = await other.limits.change(LANE, with_hold(PAUSED), NOW_MS)
    assert (state.limits, state.hold) == (LIMITS, PAUSED)
    assert await store.limits.find_state(LANE) == state
    stored = await store.limits.find()
    assert (stored.version, stored.scopes) == (2, {LANE: state})
    assert (await store.limits.change(LANE, without_hold(), NOW_MS)).hold is None
    assert await store.limits.change(LANE, with_limits(None), NOW_MS) == NOTHING_SET
    stored = await other.limits.find()
    assert (stored.version, stored.scopes) == (4, {})


async def test_the_states_of_several_scopes_are_found_at_once(store: Store) -> None:
    states = {scope: await store.limits.change(scope, with_hold(PAUSED), NOW_MS) for scope in (LANE, "douyin", "*")}
    assert await store.limits.find_states([LANE, "*", "nothing", "'\0"]) == {
        LANE: states[LANE], "*": states["*"]
    }  # fmt: skip
    assert await store.limits.find_states([]) == {}


async def test_a_change_that_changes_nothing_is_no_new_version(store: Store) -> None:
    await store.limits.change("douyin", with_hold(PAUSED), NOW_MS)
    held = msgspec.structs.replace(PAUSED, kind=WaitKind.HELD)
    assert (await store.limits.change("douyin", with_hold(held), NOW_MS)).hold == PAUSED  # the first one stays
    await store.limits.change("douyin", without_hold(WaitKind.HELD), NOW_MS)
    await store.limits.change("*", without_hold(), NOW_MS)
    assert await store.limits.version() == 1


async def test_changes_at_once_are_all_kept_and_each_is_a_version(store: Store, other: Store) -> None:
    scopes = [f"douyin/{number}" for number in range(20)]
    await asyncio.gather(
        *(
            [store, other][number % 2].limits.change(scope, with_hold(PAUSED), NOW_MS)
            for number, scope in enumerate(scopes)
        )
    )
    stored = await store.limits.find()
    assert (stored.version, sorted(stored.scopes)) == (20, sorted(scopes))


async def test_uses_are_found_from_a_time_on_the_newest_first_each_once(store: Store, other: Store) -> None:
    uses = [Use(f"task{number}", LANE, NOW_MS + number) for number in range(5)]
    await store.limits.note_uses(uses)
    await other.limits.note_uses(uses[2:])
    assert await other.limits.uses_since(NOW_MS + 2) == uses[:1:-1]


async def test_old_uses_and_closures_are_forgotten_in_portions(store: Store) -> None:
    await store.limits.note_uses([Use(f"task{number}", LANE, NOW_MS + number) for number in range(5)])
    await store.limits.close(LANE, NOW_MS + 1)
    assert await store.limits.forget_uses(NOW_MS + 4, limit=3) == 4
    assert await store.limits.forget_uses(NOW_MS + 4, limit=3) == 1
    assert await store.limits.forget_uses(NOW_MS + 4, limit=3) == 0
    assert [use.task_id for use in await store.limits.uses_since(0)] == ["task4"]


async def test_the_latest_end_of_a_closure_counts(store: Store, other: Store) -> None:
    for until_ms in (NOW_MS + 200, NOW_MS + 100):
        await store.limits.close(LANE, until_ms)
    await store.limits.close("douyin/other", NOW_MS)
    assert await other.limits.closures(NOW_MS) == {LANE: NOW_MS + 200}


async def test_each_closure_of_a_scope_can_be_noticed(store: Store, other: Store) -> None:
    seen = [await other.meta.get(CLOSED)]
    for scope, until_ms in ((LANE, NOW_MS), (LANE, NOW_MS + 1), ("douyin/other", NOW_MS + 1)):
        await store.limits.close(scope, until_ms)
        seen.append(await other.meta.get(CLOSED))
    assert len({*seen}) == 4
