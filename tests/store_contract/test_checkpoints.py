"""Checkpoints in the contract: durable, given to the next attempt, kept with the task, saved by one attempt only."""

import asyncio

import pytest

from everpost.store import Store
from everpost.store.ledger import ClaimFacts
from everpost.task.model import Attempt, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, attempt_of, end, facts_of, record_of
from store_kit import StoreKit
from store_rows import START_MS, remove

SESSION = '{"upload":"测试 \\\\u0000","parts":[1,2]}'


async def save(store: Store, attempt: int, checkpoint: str = SESSION, task_id: str = "task") -> bool:
    return await store.ledger.save_checkpoint(task_id, attempt, checkpoint, START_MS + attempt)


async def test_a_checkpoint_is_among_the_facts_of_the_next_claim(store: Store, other: Store) -> None:
    await accept(store, "task", "without")
    assert (await facts_of(store, "task")).checkpoint is None
    assert await save(store, 1)
    assert await save(store, 1, "2")
    assert await save(store, 1)
    assert (await facts_of(other, "task")).checkpoint == SESSION
    assert (await facts_of(other, "without")).checkpoint is None


async def test_a_checkpoint_goes_with_its_task_to_the_history_and_the_archive(store: Store, kit: StoreKit) -> None:
    await accept(store, "task")
    await save(store, 1)
    for place in Place:
        found = await store.history.find_task("task")
        assert found is not None
        assert (found.place, found.checkpoint, found.checkpoint_attempt) == (
            place,
            {"upload": "测试 \\u0000", "parts": [1, 2]},
            1,
        )
        assert kit.columns(place, "task", "checkpoint", "checkpoint_attempt") == (SESSION, 1)
        if place is Place.LEDGER:
            await end(store, "task", status=TaskStatus.UNKNOWN)
        elif place is Place.HISTORY:
            await remove(store, "task")


async def test_a_task_without_a_checkpoint_has_none_anywhere(store: Store) -> None:
    await accept(store, "task")
    await end(store, "task")
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.checkpoint, found.checkpoint_attempt) == (None, None)


async def test_a_checkpoint_of_a_later_attempt_stays(store: Store, other: Store) -> None:
    await accept(store, "task")
    assert await save(other, 2, "2")
    assert not await save(store, 1, "1")
    assert (await facts_of(store, "task")).checkpoint == "2"


async def test_an_attempt_saves_nothing_once_a_later_one_may_be_sending(store: Store, other: Store) -> None:
    await accept(store, "task")
    assert await store.ledger.begin_send("task", 1, START_MS)
    assert await save(store, 1, "1")
    assert await other.ledger.begin_send("task", 2, START_MS, 1)
    assert not await save(store, 1, "late")
    assert (await facts_of(store, "task")).checkpoint == "1"
    assert await save(other, 2, "2")


@pytest.mark.parametrize("was_lost", [True, False])
async def test_an_attempt_on_record_saves_nothing_any_more(store: Store, other: Store, was_lost: bool) -> None:
    await accept(store, "task")
    assert await save(store, 1, "1")
    if was_lost:

        def rule(_: ClaimFacts) -> list[Attempt]:
            return [attempt_of(1, TaskStatus.UNKNOWN)]

        noted = await other.ledger.note_lost_attempts(["task"], rule)
        assert noted["task"].checkpoint == "1"
    else:
        await other.ledger.defer("task", attempt_of(1), START_MS, spent=True)
    assert not await save(store, 1, "late")
    assert await save(other, 2, "2")
    assert (await facts_of(store, "task")).checkpoint == "2"


async def test_nothing_is_saved_for_a_task_that_has_ended_or_never_was(store: Store, kit: StoreKit) -> None:
    await accept(store, "task")
    await save(store, 1, "1")
    await end(store, "task", status=TaskStatus.CANCELLED)
    assert not await save(store, 1, "late")
    assert not await save(store, 9, "late")
    assert not await save(store, 1, "late", "nowhere")
    assert kit.columns(Place.HISTORY, "task", "checkpoint") == ("1",)


async def test_of_attempts_that_save_at_once_the_highest_stays_and_no_other_task_waits(
    store: Store, other: Store
) -> None:
    tasks = [f"t{number}" for number in range(5)]
    await accept(store, *tasks)
    asked = [(task_id, attempt) for attempt in (2, 5, 1, 4, 3) for task_id in tasks]
    saved = await asyncio.gather(
        *(
            save(each, attempt, str(attempt), task_id)
            for number, (task_id, attempt) in enumerate(asked)
            for each in [(store, other)[number % 2]]
        )
    )
    assert all(was_saved for was_saved, (_, attempt) in zip(saved, asked, strict=True) if attempt == 5)
    assert {(await facts_of(store, task_id)).checkpoint for task_id in tasks} == {"5"}


async def test_a_checkpoint_and_the_end_of_its_task_at_once_lose_neither(store: Store, other: Store) -> None:
    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        was_saved, _ = await asyncio.gather(save(store, 1, "1", task_id), other.ledger.end([record_of(task_id)]))
        found = await store.history.find_task(task_id)
        assert found is not None
        assert (found.place, found.checkpoint) == (Place.HISTORY, 1 if was_saved else None)


async def test_a_checkpoint_and_the_note_that_its_attempt_was_lost_at_once_agree(store: Store, other: Store) -> None:
    """The next attempt has the last checkpoint that was saved, also if the earlier one only froze."""

    def rule(_: ClaimFacts) -> list[Attempt]:
        return [attempt_of(1, TaskStatus.UNKNOWN)]

    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        was_saved, noted = await asyncio.gather(
            save(store, 1, "1", task_id), other.ledger.note_lost_attempts([task_id], rule)
        )
        assert noted[task_id].checkpoint == ("1" if was_saved else None)


async def test_what_another_program_wrote_instead_of_a_checkpoint_is_shown_as_text(store: Store, kit: StoreKit) -> None:
    await accept(store, "task")
    kit.change(Place.LEDGER, "task", checkpoint="{no json", attempts="nor this")
    assert (await facts_of(store, "task")).checkpoint == "{no json"
    found = await store.history.find_task("task")
    assert found is not None
    assert found.checkpoint == "{no json"
    assert await save(store, 1)
