"""The contract's small memory, and the work that keeps a store in order."""

import asyncio
from functools import partial

from everpost.clock import SinceBoot, system_clock
from everpost.errors import SearchTimeout
from everpost.running_time import LONGEST_STEP_MS, ClockMark, count_step, read_mark
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.store.ledger import FirstAnswer
from everpost.store.meta import CHECKED_AT, CLOCK
from everpost.task.place import Place
from store_contract.conftest import Stores
from store_contract.making import KEPT_MS, accept, add_ended, key_of, once_of
from store_kit import StoreKit
from store_rows import START_MS, make_task


async def test_a_value_is_the_last_one_that_any_process_set(store: Store, other: Store) -> None:
    assert await store.meta.get("name") is None
    await store.meta.set("name", "一")
    await other.meta.set("name", "二")
    assert await store.meta.get("name") == "二"
    assert await store.meta.get("another") is None


async def test_several_values_are_read_at_once_and_those_that_are_not_set_are_left_out(
    store: Store, other: Store
) -> None:
    assert await store.meta.get_all(("name", "another")) == {}
    await store.meta.set("name", "一")
    await other.meta.set("another", "二")
    await other.meta.set("third", "三")
    assert await store.meta.get_all(("name", "another", "fourth")) == {"name": "一", "another": "二"}
    assert await store.meta.get_all(()) == {}


async def test_a_value_is_replaced_only_by_a_process_that_knows_it(store: Store, other: Store) -> None:
    assert [await each.meta.replace("name", None, "一") for each in (store, other)] == [True, False]
    assert not await other.meta.replace("name", "二", "三")
    assert not await other.meta.replace("another", "一", "三")
    replaced = await asyncio.gather(
        *(each.meta.replace("name", "一", f"{n}") for n, each in enumerate([store, other] * 3))
    )
    assert sum(replaced) == 1
    assert await store.meta.get("name") == f"{replaced.index(True)}"


async def test_the_time_is_that_of_the_store_and_the_same_for_all(store: Store, other: Store) -> None:
    assert abs(store.meta.now_ms() - system_clock()) < 5_000  # of the same machine
    assert abs(store.meta.now_ms() - other.meta.now_ms()) < 5_000
    assert abs(store.care.state().host_ahead_ms) < 5_000


async def test_values_outlast_the_processes_that_set_them(stores: Stores) -> None:
    store = await stores.open()
    await store.meta.set("name", "value")
    await store.meta.count_time(lambda mark: count_step(mark, START_MS, SinceBoot("boot", 1)))
    await stores.close()
    store = await stores.open()
    assert await store.meta.get("name") == "value"
    mark = await mark_in(store)
    assert mark is not None
    assert mark.boot_ms == 1


async def mark_in(store: Store) -> ClockMark | None:
    return read_mark(await store.meta.get(CLOCK))


def mark_of(boot_ms: int = 0) -> ClockMark:
    return count_step(None, START_MS, SinceBoot("boot", boot_ms))


async def test_no_step_of_the_running_time_is_lost_however_many_count(store: Store, other: Store) -> None:
    assert await mark_in(store) is None

    def step(mark: ClockMark | None) -> ClockMark:
        since_ms = 0 if mark is None else mark.boot_ms + 1_000
        return count_step(mark, START_MS + since_ms, SinceBoot("boot", since_ms))

    marks = await asyncio.gather(*(each.meta.count_time(step) for each in (store, other) * 5))
    assert sorted(mark.counted_ms for mark in marks) == [number * 1_000 for number in range(10)]
    found = await mark_in(other)
    assert found is not None
    assert found.counted_ms == 9_000


async def test_a_mark_that_cannot_be_read_is_none_and_is_replaced(store: Store) -> None:
    await store.meta.set(CLOCK, "{ no mark")
    assert await mark_in(store) is None
    assert await store.meta.count_time(lambda mark: mark or mark_of(5)) == mark_of(5)
    assert await mark_in(store) == mark_of(5)


async def run_for(store: Store, duration_ms: int) -> None:
    """Have Everpost run for so long."""
    for since_ms in range(0, duration_ms + LONGEST_STEP_MS, LONGEST_STEP_MS):
        rule = partial(count_step, wall_ms=START_MS + since_ms, since_boot=SinceBoot("boot", since_ms))
        await store.meta.count_time(rule)


async def test_keys_are_forgotten_after_so_much_running_time_and_are_free_before_that_too(store: Store) -> None:
    await run_for(store, 0)
    await store.ledger.accept([make_task("first")], START_MS, once_of())
    assert await store.care.forget_expired(KEPT_MS, None) == 0
    assert await store.ledger.find_answer(key_of()) == once_of().answer
    await run_for(store, 20 * LONGEST_STEP_MS)
    assert await store.ledger.find_answer(key_of(kept_ms=LONGEST_STEP_MS)) is None  # although it is still there
    for number in range(3):
        await store.ledger.accept([make_task(f"t{number}")], START_MS, once_of(f"key {number}"))
    assert await store.care.forget_expired(LONGEST_STEP_MS, None) == 1
    await run_for(store, 60 * LONGEST_STEP_MS)
    assert await store.care.forget_expired(LONGEST_STEP_MS, None, limit=2) == 2
    assert await store.care.forget_expired(LONGEST_STEP_MS, None, limit=2) == 1
    assert await store.ledger.accept([make_task("again")], START_MS, once_of(body="another body")) is None


async def test_a_key_that_has_expired_is_replaced_with_its_answer(store: Store) -> None:
    await run_for(store, 0)
    await store.ledger.accept([make_task("first")], START_MS, once_of())
    await run_for(store, 20 * LONGEST_STEP_MS)
    again = once_of(body="another body", answer="second")
    brief = type(again)(key_of(body="another body", kept_ms=LONGEST_STEP_MS), again.answer)
    assert await store.ledger.accept([make_task("second")], START_MS, brief) is None
    assert await store.ledger.find_answer(brief.key) == FirstAnswer("second", '{"task_id":"second"}')


async def test_a_healthy_store_is_in_no_trouble_and_can_be_written(store: Store) -> None:
    await store.meta.set(CHECKED_AT, str(START_MS))
    state = store.care.state()
    assert (state.trouble, state.waiting_writes, state.has_long_log) == (None, 0, False)
    assert state.log_bytes >= 0


async def test_the_index_of_texts_is_filled_in_steps_and_once_by_however_many(store: Store, other: Store) -> None:
    await add_ended(store, *(make_task(f"t{number}", title=f"title {number}") for number in range(30)))
    assert await store.care.fill_search(limit=10) == 10
    filled = await asyncio.gather(*(each.care.fill_search() for each in (store, other) * 3))
    rounds = 0
    while await store.care.fill_search():
        rounds += 1
    assert sum(filled) <= 20
    assert rounds <= 1
    for number in (0, 15, 29):
        (found,) = (await other.history.page(TaskFilter(q=f"title {number}"))).items
        assert found.task_id == f"t{number}"


async def test_counts_that_are_wrong_are_corrected_and_right_ones_stay(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a", "b")
    await accept(store, "waiting")
    before = await store.history.summary()
    assert await store.care.repair_counts() == 0
    kit.miscount()
    assert await store.history.summary() != before
    assert await store.care.repair_counts() > 0
    assert await store.history.summary() == before


async def test_counts_are_corrected_while_others_write(store: Store, other: Store, kit: StoreKit) -> None:
    await accept(store, *(f"t{number}" for number in range(50)))
    kit.miscount()

    async def end_all() -> None:
        for number in range(50):
            await add_ended(other, f"e{number}")

    async def repair() -> None:
        try:
            await store.care.repair_counts()
        except SearchTimeout:
            return

    await asyncio.gather(end_all(), repair(), repair())
    await store.care.repair_counts()
    assert (await store.history.summary()).by_status == {"pending": 50, "failed": 50}


async def test_tending_a_store_changes_no_answer_whatever_is_written_meanwhile(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await add_ended(store, "a", make_task("b", platform="kuaishou"))
    before = await store.history.summary()
    assert before.total == 2
    await asyncio.gather(*(each.care.tend(START_MS) for each in (store, other) * 3), accept(store, "c"))
    assert kit.counted() == {Place.LEDGER: 1, Place.HISTORY: 2}
    after = await other.history.summary()
    assert (after.total, after.by_platform["kuaishou"]) == (3, 1)
    assert await other.care.repair_counts() == 0


async def test_a_primary_is_used_as_long_as_no_process_knows_a_newer_one(store: Store) -> None:
    async def same(_cluster: str, timeline: str) -> str:
        return timeline

    store.care.share_timelines(same)
    await accept(store, "a")
    assert set((await store.ledger.check_claims({"a": None})).known) == {"a"}
