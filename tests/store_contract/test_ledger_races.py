"""The ledger's part of the contract, with several processes: one wins, the others learn it, nothing is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from everpost.errors import KeyReused
from everpost.store import Store
from everpost.store.ledger import ClaimFacts, FirstAnswer, RecordRefusedError, TaskExistsError
from everpost.task.model import Attempt, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, add_ended, attempt_of, end, facts_of, once_of, record_of
from store_kit import StoreKit
from store_rows import START_MS, make_task

CALLERS = 6


async def together(*work: Any) -> list[Any]:
    """Everything at once; errors among the answers."""
    return await asyncio.gather(*work, return_exceptions=True)


def both(store: Store, other: Store) -> Sequence[Store]:
    """As many callers, in two processes."""
    return [store, other] * (CALLERS // 2)


async def test_of_many_requests_with_one_key_one_is_accepted_and_all_have_its_answer(
    store: Store, other: Store, kit: StoreKit
) -> None:
    answers = await together(
        *(
            each.ledger.accept([make_task(f"t{number}")], START_MS, once_of(answer=f"t{number}"))
            for number, each in enumerate(both(store, other))
        )
    )
    (task,) = kit.tasks()
    assert answers.count(None) == 1
    kept = {answer for answer in answers if answer is not None}
    assert kept == {FirstAnswer(task.task_id, f'{{"task_id":"{task.task_id}"}}')}


async def test_of_different_requests_with_one_key_one_is_accepted_and_the_others_are_refused(
    store: Store, other: Store, kit: StoreKit
) -> None:
    answers = await together(
        *(
            each.ledger.accept([make_task(f"t{number}")], START_MS, once_of(body=f"body {number}"))
            for number, each in enumerate(both(store, other))
        )
    )
    assert answers.count(None) == 1
    assert sum(isinstance(answer, KeyReused) for answer in answers) == CALLERS - 1
    assert kit.count() == 1


async def test_an_acceptance_that_fails_fails_alone(store: Store, other: Store, kit: StoreKit) -> None:
    await accept(store, "there")
    answers = await together(
        *(store.ledger.accept([make_task(f"t{number}")], START_MS) for number in range(CALLERS)),
        store.ledger.accept([make_task("there")], START_MS),
        other.ledger.accept([make_task("there")], START_MS),
    )
    assert answers[:CALLERS] == [None] * CALLERS
    assert all(isinstance(answer, TaskExistsError) for answer in answers[CALLERS:])
    assert kit.count(Place.LEDGER) == CALLERS + 1


async def test_of_many_calls_at_once_one_that_has_a_task_twice_leaves_none_of_its_own(
    store: Store, kit: StoreKit
) -> None:
    await accept(store, "there")
    answers = await together(
        *(store.ledger.accept([make_task(f"a{number}"), make_task(f"b{number}")], START_MS) for number in range(3)),
        store.ledger.accept([make_task("new"), make_task("there"), make_task("newer")], START_MS),
        store.ledger.accept([make_task("keyed"), make_task("there")], START_MS, once_of()),
        store.ledger.accept([make_task("free")], START_MS, once_of("another key")),
    )
    assert answers[:3] == [None] * 3
    assert [type(answer) for answer in answers[3:]] == [TaskExistsError, TaskExistsError, type(None)]
    assert {task.task_id for task in kit.tasks()} == {"there", "free", "a0", "a1", "a2", "b0", "b1", "b2"}
    assert await store.ledger.find_answer(once_of().key) is None


async def test_a_task_that_is_accepted_and_adopted_at_once_is_one_task(
    store: Store, other: Store, kit: StoreKit
) -> None:
    task = make_task("task")
    accepted, adopted = await together(store.ledger.accept([task], START_MS), other.ledger.adopt([task], START_MS))
    assert accepted is None or isinstance(accepted, TaskExistsError)
    assert set(adopted.known) == {"task"}
    assert kit.count() == 1


async def test_tasks_that_many_adopt_at_once_are_each_one_task(store: Store, other: Store, kit: StoreKit) -> None:
    tasks = [make_task(f"t{number}") for number in range(20)]
    answers = await together(*(each.ledger.adopt(tasks, START_MS) for each in both(store, other)))
    assert all(len(answer.known) == 20 for answer in answers)
    assert kit.count() == 20


async def test_a_task_that_ends_while_it_is_adopted_does_not_run_again(
    store: Store, other: Store, kit: StoreKit
) -> None:
    for number in range(10):
        task = make_task(f"t{number}")
        await accept(store, task)
        _, adopted = await together(store.ledger.end([record_of(task.task_id)]), other.ledger.adopt([task], START_MS))
        assert (task.task_id in adopted.known) != (task.task_id in adopted.ended)
    assert {task.place for task in kit.tasks()} == {Place.HISTORY}
    assert kit.count() == 10


async def test_of_many_attempts_the_intent_of_one_is_recorded(store: Store, other: Store) -> None:
    await accept(store, "task")
    begun = await together(
        *(each.ledger.begin_send("task", number, START_MS) for number, each in enumerate(both(store, other), 1))
    )
    assert begun.count(True) == 1
    assert (await facts_of(store, "task")).sending == begun.index(True) + 1


async def test_an_intent_is_recorded_before_a_task_ends_or_not_at_all(store: Store, other: Store) -> None:
    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        begun, _ = await together(
            store.ledger.begin_send(task_id, 1, START_MS),
            other.ledger.end([record_of(task_id, TaskStatus.CANCELLED)]),
        )
        assert begun in {True, False}
        assert not await store.ledger.begin_send(task_id, 2, START_MS)


async def test_an_intent_that_is_written_while_an_attempt_is_called_lost_is_seen_by_the_rule_or_refused(
    store: Store, other: Store
) -> None:
    """The rule is called under the lock, so it never overlooks an intent that was confirmed to its attempt."""
    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        seen: list[int | None] = []

        def rule(facts: ClaimFacts, seen: list[int | None] = seen) -> list[Attempt]:
            seen.append(facts.sending)
            return [] if facts.sending is not None else [attempt_of(1, started_at="", finished_at=None)]

        begun, noted = await together(
            store.ledger.begin_send(task_id, 1, START_MS), other.ledger.note_lost_attempts([task_id], rule)
        )
        assert begun is True
        assert (noted[task_id].sending is None) == (seen[-1] is None)


async def test_a_lost_attempt_is_noted_once_however_many_note_it(store: Store, other: Store) -> None:
    await accept(store, "task")
    lost = attempt_of(1, TaskStatus.UNKNOWN, started_at="", finished_at=None)
    await together(*(each.ledger.note_lost_attempts(["task"], lambda _: [lost]) for each in both(store, other)))
    attempts = (await facts_of(store, "task")).attempts or ""
    assert attempts.count('"number":1') == 1


async def test_a_task_that_many_end_at_once_ends_once(store: Store, other: Store, kit: StoreKit) -> None:
    await accept(store, "task")
    statuses = [TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.CANCELLED] * (CALLERS // 3)
    answers = await together(
        *(
            each.ledger.end([record_of("task", status, number)])
            for number, (each, status) in enumerate(zip(both(store, other), statuses, strict=True), 1)
        )
    )
    assert answers.count([]) == 1
    assert answers.count(["task"]) == CALLERS - 1
    (task,) = kit.tasks()
    assert (task.place, task.status) == (Place.HISTORY, statuses[answers.index([])])
    found = await store.history.find_task("task")
    assert found is not None
    assert sorted(attempt["number"] for attempt in found.attempts) == list(range(1, CALLERS + 1))


async def test_a_record_that_cannot_be_kept_does_not_prevent_the_others(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await accept(store, "a", "twice", "b", "c")
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "failed"})  # as another program may have written it
    refused, ended = await together(
        store.ledger.end([record_of(task_id) for task_id in ("a", "twice", "b")]), other.ledger.end([record_of("c")])
    )
    assert isinstance(refused, RecordRefusedError)
    assert ended == []
    places = [(task.task_id, task.place) for task in kit.tasks()]
    assert sorted(places) == [
        ("a", Place.HISTORY), ("b", Place.HISTORY), ("c", Place.HISTORY),
        ("twice", Place.HISTORY), ("twice", Place.LEDGER),
    ]  # fmt: skip


async def test_a_task_is_deferred_before_it_ends_or_not_at_all(store: Store, other: Store, kit: StoreKit) -> None:
    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        await together(
            store.ledger.defer(task_id, attempt_of(1), START_MS + 1, spent=True),
            other.ledger.end([record_of(task_id, number=2)]),
        )
        found = await store.history.find_task(task_id)
        assert found is not None
        assert (found.status, found.attempts[-1]["number"]) == (TaskStatus.SUCCESS, 2)
    assert kit.count(Place.LEDGER) == 0


async def test_a_due_task_is_promoted_once_and_an_ended_one_is_not(store: Store, other: Store, kit: StoreKit) -> None:
    await accept(store, *(make_task(f"t{number:02}", due_at_ms=START_MS + 1) for number in range(30)))
    await add_ended(store, make_task("ended", due_at_ms=START_MS + 1))
    promoted = await together(*(each.ledger.promote_due(START_MS + 2) for each in both(store, other)))
    assert sum(promoted) == 30
    assert {task.status for task in kit.tasks()} == {"pending", "failed"}


async def test_a_reader_finds_every_task_in_some_place_while_tasks_end(store: Store, other: Store) -> None:
    ids = [f"t{number:03}" for number in range(40)]
    await accept(store, *ids)
    ending = asyncio.create_task(_end_one_by_one(store, ids))
    while not ending.done():
        claims = await other.ledger.check_claims(dict.fromkeys(ids))
        assert {*claims.known, *claims.ended} == set(ids)
        assert await other.ledger.count_unfinished() <= len(ids)
    await ending
    assert await other.ledger.count_unfinished() == 0


async def _end_one_by_one(store: Store, ids: Sequence[str]) -> None:
    for task_id in ids:
        await end(store, task_id)


async def test_one_processs_write_is_read_by_another_at_once(store: Store, other: Store) -> None:
    await accept(store, "task")
    assert set((await other.ledger.check_claims({"task": None})).known) == {"task"}
    await store.ledger.accept([make_task("keyed")], START_MS, once_of())
    with pytest.raises(KeyReused):
        await other.ledger.find_answer(once_of(body="another body").key)
    await end(other, "task")
    assert (await store.ledger.check_claims({"task": None})).ended == {"task"}
