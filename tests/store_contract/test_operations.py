"""The operations' part of the contract: a step is done and counted or neither, and has one owner."""

import asyncio
from typing import Any

import msgspec
import pytest

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.changes import Outcome
from everpost.store.operations import (
    KEPT_MS,
    KEPT_SKIPS,
    Operation,
    OperationLostError,
    OperationStatus,
    UndoneError,
)
from everpost.task.candidate import Candidate
from everpost.task.model import new_task_id
from everpost.task.place import Place
from everpost.task.retry_rules import RetryAction, RetryDecision
from everpost.testing import eventually
from store_contract.making import accept, add_ended
from store_contract.test_changes import NOW_MS, cancel_of, remove_of, retry_of
from store_kit import StoreKit
from store_rows import START_MS, begin

MINUTE_MS = 60_000


def operation_of(operation_id: str | None = None, **changed: Any) -> Operation:
    """An operation that has just begun."""
    fields: dict[str, Any] = {
        "operation_id": operation_id or new_task_id(START_MS),
        "kind": "cancel",
        "request": "{}",
        "status": OperationStatus.RUNNING,
        "total": 4,
        "position": "here",
        "owner": "one",
        "created_at": to_text(START_MS),
        "updated_at": to_text(START_MS),
    }
    return Operation(**fields | changed)


async def find(store: Store, operation: Operation) -> Operation:
    found = await store.operations.find(operation.operation_id)
    assert found is not None
    return found[0]


async def skips_of(store: Store, operation: Operation, after: str = "", limit: int = 1_000) -> list[tuple[str, str]]:
    found = await store.operations.find(operation.operation_id, after, limit)
    assert found is not None
    return [(skip.task_id, str(skip.reason)) for skip in found[1]]


async def test_an_operation_is_found_as_it_began(store: Store, other: Store) -> None:
    operation = operation_of(request='{"task_ids":["a"]}')
    await begin(store, operation)
    assert await find(other, operation) == operation
    assert await store.operations.find("nowhere") is None


async def test_a_step_changes_its_tasks_and_its_progress_together(store: Store, kit: StoreKit) -> None:
    await accept(store, "a", "b", "c")
    operation = operation_of()
    await begin(store, operation)
    decided = [Outcome(task_id="c", reason="task_running")]
    first, outcomes = await store.operations.advance(operation, cancel_of("a", "nowhere"), decided, "b", NOW_MS)
    assert [(outcome.task_id, outcome.reason) for outcome in outcomes] == [
        ("c", "task_running"), ("a", None), ("nowhere", "task_not_found"),
    ]  # fmt: skip
    assert first == msgspec.structs.replace(operation, done=3, succeeded=1, position="b", updated_at=to_text(NOW_MS))
    assert await find(store, operation) == first
    last, _ = await store.operations.advance(first, cancel_of("b"), [], None, NOW_MS + 1)
    assert (last.status, last.done, last.succeeded) == (OperationStatus.DONE, 4, 2)
    assert await skips_of(store, operation) == [("c", "task_running"), ("nowhere", "task_not_found")]
    assert {task.task_id: task.status for task in kit.tasks()} == {"a": "cancelled", "b": "cancelled", "c": "pending"}


async def test_a_new_operation_is_kept_only_with_its_first_step(store: Store, kit: StoreKit) -> None:
    await accept(store, "a")
    operation = operation_of()

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    change = msgspec.structs.replace(cancel_of("a"), rule=fail)
    with pytest.raises(ZeroDivisionError):
        await store.operations.advance(operation, change, [], None, NOW_MS, is_new=True)
    assert await store.operations.find(operation.operation_id) is None
    assert kit.count(Place.LEDGER) == 1
    done, _ = await store.operations.advance(operation, cancel_of("a"), [], None, NOW_MS, is_new=True)
    assert (done.status, done.succeeded) == (OperationStatus.DONE, 1)


async def test_a_step_with_a_task_to_be_prepared_is_not_recorded(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a", "b")
    started, new = operation_of("started", kind="retry"), operation_of("new", kind="retry")
    await begin(store, started)
    ready = retry_of(("a", "new a"), ("b", "new b"))

    def rule(task: Candidate) -> RetryDecision:
        return RetryDecision(RetryAction.LOOK) if task.task_id == "b" else ready.rule(task)

    change = msgspec.structs.replace(ready, rule=rule)
    skipped = Outcome(task_id="c", reason="task_running")
    for operation, is_new in ((started, False), (new, True)):
        left, outcomes = await store.operations.advance(operation, change, [skipped], None, NOW_MS, is_new=is_new)
        assert left == operation
        assert [outcome.undecided is not None for outcome in outcomes] == [False, True]
    assert await find(store, started) == started
    assert await store.operations.find("new") is None
    assert kit.count(Place.LEDGER) == 0
    done, _ = await store.operations.advance(started, ready, [skipped], None, NOW_MS)
    assert (done.done, done.succeeded) == (3, 2)


async def test_a_step_of_another_owner_or_another_position_changes_nothing(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await accept(store, "a", "b")
    operation = operation_of()
    await begin(store, operation)
    advanced, _ = await store.operations.advance(operation, cancel_of("a"), [], "b", NOW_MS)
    for outdated in (operation, msgspec.structs.replace(advanced, owner="two")):
        with pytest.raises(OperationLostError):
            await other.operations.advance(outdated, cancel_of("b"), [], None, NOW_MS)
    assert await find(store, operation) == advanced
    assert {task.task_id for task in kit.tasks() if task.place is Place.LEDGER} == {"b"}
    done, _ = await store.operations.advance(advanced, cancel_of("b"), [], None, NOW_MS)
    with pytest.raises(OperationLostError):
        await store.operations.advance(done, remove_of("a"), [], None, NOW_MS)
    assert kit.count(Place.ARCHIVE) == 0


async def test_of_two_owners_that_advance_one_step_at_once_one_does_it(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await add_ended(store, *(f"t{number}" for number in range(8)))
    operation = operation_of(kind="retry", total=8)
    await begin(store, operation)
    position = operation.position
    for number in range(8):
        following = str(number) if number < 7 else None
        answers = await asyncio.gather(
            *(
                each.operations.advance(
                    msgspec.structs.replace(operation, position=position),
                    retry_of((f"t{number}", f"new{number}-{caller}")),
                    [],
                    following,
                    NOW_MS,
                )
                for caller, each in enumerate((store, other))
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, OperationLostError) for answer in answers) == 1
        position = following
    done = await find(store, operation)
    assert (done.status, done.done, done.succeeded) == (OperationStatus.DONE, 8, 8)
    assert kit.count(Place.LEDGER) == 8
    assert kit.find_chains_twice_alive() == []


async def test_an_operation_that_was_given_up_or_has_ended_stays_so(store: Store) -> None:
    failed, done = operation_of("a"), operation_of("b")
    await begin(store, failed)
    await store.operations.advance(done, cancel_of(), [], None, NOW_MS, is_new=True)
    await store.operations.fail(msgspec.structs.replace(failed, owner="two"), "not mine", NOW_MS)
    assert (await find(store, failed)).status == OperationStatus.RUNNING
    await store.operations.fail(failed, "no more", NOW_MS)
    found = await find(store, failed)
    assert (found.status, found.error, found.updated_at) == (OperationStatus.FAILED, "no more", to_text(NOW_MS))
    await store.operations.fail(done, "too late", NOW_MS)
    assert (await find(store, done)).error is None
    for ended in (failed, done):
        with pytest.raises(OperationLostError):
            await store.operations.advance(ended, cancel_of(), [], None, NOW_MS)


@pytest.mark.parametrize("end", ["done", "failed"])
async def test_the_ids_of_a_request_are_not_kept_beyond_its_end(store: Store, end: str) -> None:
    request = '{"kind":"cancel","task_ids":["a"],"filter":{"status":"failed","task_ids":["b"]}}'
    operation = operation_of(request=request)
    await begin(store, operation)
    if end == "done":
        await store.operations.advance(operation, cancel_of(), [], None, NOW_MS)
    else:
        await store.operations.fail(operation, "no", NOW_MS)
    kept = msgspec.json.decode((await find(store, operation)).request)
    assert "task_ids" not in kept
    assert kept.get("filter", {}).get("task_ids") is None
    assert kept["kind"] == "cancel"


async def test_skips_are_listed_by_id_in_pages_and_the_first_are_kept(store: Store, kit: StoreKit) -> None:
    operation = operation_of(total=KEPT_SKIPS + 20)
    await begin(store, operation)
    nowhere = [f"n{number:05}" for number in range(KEPT_SKIPS + 20)]
    half, _ = await store.operations.advance(operation, cancel_of(*nowhere[:990]), [], "half", NOW_MS)
    done, _ = await store.operations.advance(half, cancel_of(*nowhere[990:]), [], None, NOW_MS)
    assert (done.done, done.succeeded) == (KEPT_SKIPS + 20, 0)
    assert kit.count_skips() == KEPT_SKIPS
    assert [task_id for task_id, _ in await skips_of(store, operation, limit=3)] == nowhere[:3]
    assert [task_id for task_id, _ in await skips_of(store, operation, after=nowhere[2], limit=2)] == nowhere[3:5]


async def test_an_operation_that_is_left_alone_is_claimed_by_one(store: Store, other: Store) -> None:
    operations = [operation_of(f"o{number}") for number in range(3)]
    for operation in operations:
        await begin(store, operation)
    now_ms = START_MS + MINUTE_MS
    assert await store.operations.claim_abandoned("two", START_MS, now_ms) is None  # they were advanced then
    claimed = await asyncio.gather(
        *(
            each.operations.claim_abandoned(f"owner {number}", START_MS + 1, now_ms)
            for number, each in enumerate((store, other) * 3)
        )
    )
    taken = [operation for operation in claimed if operation is not None]
    assert sorted(operation.operation_id for operation in taken) == ["o0", "o1", "o2"]
    assert len({operation.owner for operation in taken}) == 3
    with pytest.raises(OperationLostError):
        await store.operations.advance(operations[0], cancel_of(), [], None, now_ms)
    (mine,) = [operation for operation in taken if operation.operation_id == "o0"]
    done, _ = await store.operations.advance(mine, cancel_of(), [], None, now_ms)
    assert done.status == OperationStatus.DONE
    assert await store.operations.claim_abandoned("late", now_ms + 9 * MINUTE_MS, now_ms + 9 * MINUTE_MS) is not None


async def test_an_operation_of_the_time_before_the_clock_was_set_back_is_claimed(store: Store) -> None:
    await begin(store, operation_of(updated_at=to_text(START_MS + 90 * MINUTE_MS)))
    assert await store.operations.claim_abandoned("two", START_MS - MINUTE_MS, START_MS) is not None


async def test_an_operation_its_owner_releases_is_claimed_at_once(store: Store, other: Store) -> None:
    released, kept = operation_of("a"), operation_of("b", owner="another")
    for operation in (released, kept):
        await begin(store, operation)
    await store.operations.release("one")
    assert (await find(store, released)).owner is None
    claimed = await other.operations.claim_abandoned("two", START_MS - 1, START_MS)
    assert claimed is not None
    assert (claimed.operation_id, claimed.owner) == ("a", "two")
    assert await other.operations.claim_abandoned("two", START_MS - 1, START_MS) is None
    await store.operations.release("nobody")


async def test_operations_are_forgotten_a_while_after_their_end(store: Store, kit: StoreKit) -> None:
    for age_ms in (KEPT_MS + MINUTE_MS, 0):
        began_ms = START_MS - age_ms
        operation = operation_of(new_task_id(began_ms), created_at=to_text(began_ms), updated_at=to_text(began_ms))
        await store.operations.advance(operation, cancel_of("nowhere"), [], None, began_ms, is_new=True)
    running = operation_of(new_task_id(START_MS - 2 * KEPT_MS), updated_at=to_text(START_MS - 2 * KEPT_MS))
    await begin(store, running)
    assert await store.care.forget_expired(KEPT_MS, None) == 0  # the clock may be wrong
    while await store.care.forget_expired(KEPT_MS, START_MS, 1):
        pass
    assert await store.operations.find(running.operation_id) is not None
    assert (kit.count_operations(), kit.count_skips()) == (2, 1)


async def test_long_work_is_told_of_other_work_of_its_process_and_not_of_its_own(store: Store) -> None:
    await check_that_work_is_told_of(store, store)


async def check_that_work_is_told_of(writer: Store, store: Store) -> None:
    """Have a writer write while long work goes on."""
    others = store.care.watch_others()
    operation = operation_of(total=9)
    await begin(store, operation)
    others.are_writing()

    async def is_told() -> bool:
        nonlocal operation
        following, pace = str(operation.done), Pace(100, rest=0, others=others)
        operation, _ = await store.operations.advance(operation, cancel_of("t"), [], following, NOW_MS, pace=pace)
        return others.are_writing()

    async def is_alone() -> bool:
        return not await is_told()

    await eventually(is_alone, what="the end of the other writes")
    assert [await is_told() for _ in range(3)] == [False] * 3
    await accept(writer, "accepted meanwhile")
    assert await is_told()


async def test_the_tasks_are_kept_of_work_that_can_be_undone_and_of_other_work_none(store: Store, other: Store) -> None:
    await accept(store, "a", "b", "c")
    await add_ended(store, "old")
    operation = operation_of()
    await begin(store, operation)
    skipped = [Outcome(task_id="x", reason="task_running")]
    first, _ = await store.operations.advance(operation, cancel_of("c", "a"), skipped, "there", NOW_MS)
    await store.operations.advance(first, cancel_of("b", "nowhere"), [], None, NOW_MS)
    archiving = operation_of("archiving", kind="archive")
    await store.operations.advance(archiving, remove_of("old"), [], None, NOW_MS, is_new=True)
    assert await other.operations.page_done(operation.operation_id, "", 2) == ["a", "b"]
    assert await other.operations.page_done(operation.operation_id, "b", 2) == ["c"]
    assert await other.operations.page_done("archiving", "", 2) == []
    await store.care.forget_expired(0, START_MS + KEPT_MS, 100)
    assert len(await store.operations.page_done(operation.operation_id, "", 10)) == 3
    await store.care.forget_expired(0, NOW_MS + KEPT_MS + MINUTE_MS, 100)
    assert await store.operations.page_done(operation.operation_id, "", 10) == []


async def test_an_operation_is_undone_by_one_other_until_that_one_fails(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a")
    one, two = (operation_of(name, kind="undo", undoes="undone") for name in ("first", "second"))
    assert await store.operations.find_undo("undone") is None
    await begin(store, one)
    assert await store.operations.find_undo("undone") == "first"
    assert await find(store, one) == one
    with pytest.raises(UndoneError):
        await store.operations.advance(two, retry_of(("a", "new a")), [], None, NOW_MS, is_new=True)
    assert await store.operations.find("second") is None
    assert kit.count(Place.LEDGER) == 0
    await store.operations.fail(one, "broken", NOW_MS)
    await store.operations.advance(two, retry_of(("a", "new a")), [], None, NOW_MS, is_new=True)
    assert await store.operations.find_undo("undone") == "second"
    assert kit.count(Place.LEDGER) == 1
