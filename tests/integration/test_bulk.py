"""Bulk work does the same to each task as the single route, once, whatever crashes, and lists skipped tasks."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from everpost import pace
from everpost.actions.bulk import Bulk, BulkAnswer, BulkKind, BulkRequest, behind, pages, work
from everpost.actions.cancel import Cancellations
from everpost.actions.retry import RetryTools
from everpost.api.services import Services
from everpost.clock import to_text
from everpost.errors import (
    DiskFull,
    InvalidValue,
    OperationNotFound,
    QueueUnreachable,
    TaskEnded,
    TaskNotFound,
    TaskRunning,
    TasksPending,
)
from everpost.pace import Pace
from everpost.queue import redis_server
from everpost.queue.task_queue import TaskQueue
from everpost.store.history import TaskFilter
from everpost.store.operations import KEPT_SKIPS, Operation, OperationLostError, OperationStatus
from everpost.task.candidate import LARGEST_LOCKED
from everpost.task.model import Task, TaskStatus
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of
from store_rows import START_MS, accept, add_ended, begin, make_task

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

FAILED = TaskFilter(status="failed")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Everything but a worker."""
    async with everpost_stack(workers=0) as stack:
        yield stack


@pytest.fixture(autouse=True)
def _patience_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside other tests, Redis or this process may stand still for a second; then Redis would count as away."""
    monkeypatch.setattr(redis_server, "ANSWER_S", 20.0)


@pytest.fixture
async def bulk(stack: Stack) -> AsyncIterator[Bulk]:
    bulk = make_bulk(stack)
    yield bulk
    await bulk.behind.close()


def make_bulk(stack: Stack, queue: TaskQueue | None = None) -> Bulk:
    """Bulk work as one more API process would do it."""
    services: Services = stack.app.state.services
    tools = RetryTools(
        changes=stack.store.changes,
        ledger=stack.store.ledger,
        queue=queue or stack.queue,
        acceptance=services.acceptance,
        catalogue=services.catalogue,
        clock=services.clock,
        zone=services.settings.zone,
        reader=services.reader,
        max_body=services.settings.max_body,
    )
    return Bulk(stack.store, tools)


def begun(request: BulkRequest, owner: str = "us") -> Operation:
    """A new operation that does what is asked for."""
    return Operation(
        operation_id="operation",
        kind=request.kind,
        request=msgspec.json.encode(request).decode(),
        status=OperationStatus.RUNNING,
        total=3,
        position="",
        owner=owner,
        created_at=to_text(START_MS),
        updated_at=to_text(START_MS),
    )


def ask(kind: BulkKind, *task_ids: str, wanted: TaskFilter | None = None, force: bool = False) -> BulkRequest:
    return BulkRequest(kind=kind, task_ids=task_ids or None, filter=wanted, force=force)


def reasons(answer: BulkAnswer) -> dict[str, str]:
    return {skip.task_id: str(skip.reason) for skip in answer.skipped}


async def until_ended(bulk: Bulk, operation_id: str | None) -> BulkAnswer:
    async def ended() -> BulkAnswer | None:
        answer = await bulk.progress(str(operation_id))
        return answer if answer.has_ended else None

    answer = await eventually(ended, what="the operation's end")
    assert answer is not None
    return answer


def many(count: int, **fields: Any) -> list[Task]:
    return [make_task(f"t{number:05}", created_at_ms=START_MS - number, **fields) for number in range(count)]


async def statuses(stack: Stack) -> dict[str, int]:
    """How many tasks of the ledger and the history there are of each status."""
    return Counter(task.status for task in kit_of(stack.settings).tasks() if task.place is not Place.ARCHIVE)


async def test_failed_tasks_are_retried_by_filter_and_run(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(5, extra={"kept": "视频"}, priority=2))
    await add_ended(stack.store, make_task("other", account_id="b"))
    answer = await bulk.run(ask(BulkKind.RETRY, wanted=TaskFilter(status="failed", account_id="a")))
    assert (answer.has_ended, answer.total, answer.done, answer.succeeded) == (True, 5, 5, 5)
    assert sorted(answer.new_task_ids) == [f"t{number:05}" for number in range(5)]
    await stack.start_worker()
    for original, retry in answer.new_task_ids.items():
        task = await stack.wait_until_ended(retry)
        assert (task["status"], task["retry_of"]) == ("success", original)
        assert (task["batch_id"], task["priority"]) == (answer.operation_id, 2)
        assert task["task_data"]["extra"] == {"kept": "视频"}


async def test_each_task_left_out_has_its_reason(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, make_task("ok"), make_task("live"), make_task("strange", platform="gone"))
    await add_ended(stack.store, make_task("done"), status=TaskStatus.SUCCESS)
    await add_ended(stack.store, make_task("lost"), status=TaskStatus.UNKNOWN)
    await accept(stack.store, make_task("retry", retry_of="live", root_id="live", generation=1), make_task("sent"))
    kit = kit_of(stack.settings)
    kit.change(Place.LEDGER, "sent", sending=1)
    kit.change(Place.HISTORY, "strange", data='{"platform": "gone", "account_id": "a"}')
    asked = ["ok", "live", "strange", "done", "lost", "sent", "nobody", "ok"]
    expected = {
        "live": "retry_exists",
        "strange": "unknown_platform",
        "done": "task_succeeded",
        "lost": "outcome_unknown",
        "sent": "task_running",
        "nobody": "task_not_found",
    }
    foreseen = await bulk.run(ask(BulkKind.RETRY, *asked), dry_run=True)
    answer = await bulk.run(ask(BulkKind.RETRY, *asked))
    assert reasons(foreseen) == reasons(answer) == expected
    assert [skip.other_task_id for skip in answer.skipped if skip.task_id == "live"] == ["retry"]
    assert list(answer.new_task_ids) == ["ok"]
    assert (answer.total, answer.done, answer.succeeded) == (7, 7, 1)
    forced = await bulk.run(ask(BulkKind.RETRY, "done", "lost", "live", force=True))
    assert reasons(forced) == {"live": "retry_exists"}


async def test_a_dry_run_changes_nothing(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(3))
    await accept(stack.store, make_task("waiting"))
    kit = kit_of(stack.settings)
    before = kit.tasks()
    for kind in set(BulkKind) - {BulkKind.EDIT, BulkKind.UNDO, BulkKind.RESOLVE}:  # tests of the API cover these
        answer = await bulk.run(ask(kind, wanted=TaskFilter()), dry_run=True)
        assert (answer.dry_run, answer.operation_id, answer.has_ended) == (True, None, True)
        assert answer.succeeded == {"retry": 4, "cancel": 1, "delete": 3, "archive": 3}[kind]
    assert kit.tasks() == before
    assert kit.count_operations() == 0


async def test_of_a_retry_chain_a_filter_retries_only_the_newest(stack: Stack, bulk: Bulk) -> None:
    chain = {"root_id": "first"}
    await add_ended(stack.store, make_task("first"))
    await add_ended(stack.store, make_task("second", retry_of="first", generation=1, **chain))
    await add_ended(stack.store, make_task("third", retry_of="first", generation=2, **chain))
    for dry_run in (True, False):
        answer = await bulk.run(ask(BulkKind.RETRY, wanted=FAILED), dry_run=dry_run)
        assert reasons(answer) == {"first": "superseded", "second": "superseded"}
        assert answer.succeeded == 1
        assert list(answer.new_task_ids) == ([] if dry_run else ["third"])
    again = await bulk.run(ask(BulkKind.RETRY, wanted=FAILED))
    assert reasons(again) == {"first": "superseded", "second": "superseded", "third": "retry_exists"}


async def test_ids_of_one_chain_make_one_retry(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, make_task("first"))
    await add_ended(stack.store, make_task("second", retry_of="first", root_id="first", generation=1))
    answer = await bulk.run(ask(BulkKind.RETRY, "first", "second"))
    assert (answer.succeeded, reasons(answer)) == (1, {"second": "retry_exists"})


async def test_ids_and_a_filter_mean_the_ids_that_match(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(3))
    await add_ended(stack.store, make_task("done"), status=TaskStatus.SUCCESS)
    answer = await bulk.run(ask(BulkKind.RETRY, "t00001", "done", "nobody", wanted=FAILED))
    assert (answer.total, list(answer.new_task_ids)) == (1, ["t00001"])


async def test_a_waiting_task_is_withdrawn_before_its_retry_takes_its_place(stack: Stack, bulk: Bulk) -> None:
    waiting = [await stack.publish(title=f"{number}") for number in range(3)]
    answer = await bulk.run(ask(BulkKind.RETRY, *waiting))
    assert sorted(answer.new_task_ids) == sorted(waiting)
    await stack.start_worker()
    await stack.drain()
    published = [job.task_id for job in stack.publisher.published]
    assert sorted(published) == sorted(answer.new_task_ids.values())
    assert await statuses(stack) == {"cancelled": 3, "success": 3}


async def test_while_redis_is_down_tasks_waiting_there_are_left_alone(stack: Stack) -> None:
    await add_ended(stack.store, make_task("failed"))
    await accept(stack.store, *many(100))
    nowhere = TaskQueue.connect("redis://127.0.0.1:1/0")
    bulk = make_bulk(stack, nowhere)
    for kind in (BulkKind.RETRY, BulkKind.CANCEL):
        answer = await bulk.run(ask(kind, *(f"t{number:05}" for number in range(100))))
        assert set(reasons(answer).values()) == {"queue_unreachable"}
    answer = await bulk.run(ask(BulkKind.RETRY, "failed", "nobody"))
    assert (list(answer.new_task_ids), reasons(answer)) == (["failed"], {"nobody": "task_not_found"})
    await bulk.behind.close()
    await nowhere.close()


async def test_a_task_only_redis_knows_is_retried_from_there(stack: Stack, bulk: Bulk) -> None:
    await stack.queue.enqueuer.enqueue_task(make_task("stray"))
    answer = await bulk.run(ask(BulkKind.RETRY, "stray"))
    assert list(answer.new_task_ids) == ["stray"]


async def test_tasks_that_must_be_prepared_are_retried_with_the_others_of_their_chunk(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, make_task("small"), make_task("large", note="x" * LARGEST_LOCKED))
    await accept(stack.store, make_task("waiting"), make_task("large, waiting", note="y" * LARGEST_LOCKED))
    await accept(stack.store, make_task("sending"))
    await stack.store.ledger.begin_send("sending", 1, START_MS)
    await stack.queue.enqueuer.enqueue_task(make_task("stray"))
    answer = await bulk.run(
        ask(BulkKind.RETRY, "small", "large", "waiting", "nobody", "large, waiting", "sending", "stray")
    )
    assert reasons(answer) == {"nobody": "task_not_found", "sending": "task_running"}
    assert list(answer.new_task_ids) == ["small", "large", "waiting", "large, waiting", "stray"]
    assert (answer.done, answer.succeeded, len(set(answer.new_task_ids.values()))) == (7, 5, 5)
    tasks = {task_id: await stack.task(new_id) for task_id, new_id in answer.new_task_ids.items()}
    assert [len(tasks[task_id]["task_data"]["note"]) for task_id in ("large", "large, waiting")] == [LARGEST_LOCKED] * 2
    assert {task["batch_id"] for task in tasks.values()} == {answer.operation_id}


async def test_a_large_set_goes_on_behind_the_answer(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(1_201))
    await add_ended(stack.store, make_task("done", created_at_ms=START_MS - 5_000), status=TaskStatus.SUCCESS)
    answer = await bulk.run(ask(BulkKind.RETRY, wanted=TaskFilter(account_id="a")))
    assert (answer.has_ended, answer.total, answer.done, answer.new_task_ids) == (False, 1_202, 0, {})
    ended = await until_ended(bulk, answer.operation_id)
    assert (ended.total, ended.done, ended.succeeded, ended.error) == (1_202, 1_202, 1_201, None)
    assert [(skip.task_id, skip.reason) for skip in ended.skipped] == [("done", "task_succeeded")]
    batch = await stack.client.get("/api/v1/tasks", params={"batch_id": str(answer.operation_id), "limit": 1})
    assert (batch.json()["total"], kit_of(stack.settings).count(Place.LEDGER)) == (1_201, 1_201)

    async def are_queued() -> bool:
        return (await stack.queue.jobs.depths())[5].ready == 1_201

    await eventually(are_queued, what="1,201 jobs in the queue")  # what Redis was slow to take follows the answer


async def test_tasks_made_by_the_work_are_never_matched_by_it(
    stack: Stack, bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "STEP_S", 60)  # a busy machine makes no smaller steps
    monkeypatch.setattr(pace, "STEP_ALONE_S", 60)
    services: Services = stack.app.state.services
    tasks = [make_task(f"w{number:05}", created_at_ms=services.clock() - 1) for number in range(700)]
    await accept(stack.store, *tasks)
    answer = await bulk.run(ask(BulkKind.RETRY, wanted=TaskFilter(status="pending")))
    ended = await until_ended(bulk, answer.operation_id)
    assert (ended.total, ended.done, ended.succeeded) == (700, 700, 700)
    assert await statuses(stack) == {"cancelled": 700, "pending": 700}


@pytest.mark.parametrize("by", ["filter", "ids"])
async def test_work_cut_off_goes_on_in_another_process_and_repeats_nothing(
    stack: Stack, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK", 50)
    monkeypatch.setattr(pace, "FIRST", 50)
    monkeypatch.setattr(pace, "STEP_S", 60)  # no step is too long
    monkeypatch.setattr(pace, "STEP_ALONE_S", 60)
    await add_ended(stack.store, *many(600))
    first, second = make_bulk(stack), make_bulk(stack)
    task_ids = [f"t{number:05}" for number in range(600)] if by == "ids" else []
    advance, stalled, goes_on = first.work.advance, asyncio.Event(), asyncio.Event()

    async def stalls(operation: Operation, request: BulkRequest, pace: Pace) -> Operation:
        if operation.done == 150:
            stalled.set()
            await goes_on.wait()
        return await advance(operation, request, pace)

    monkeypatch.setattr(first.work, "advance", stalls)
    answer = await first.run(ask(BulkKind.RETRY, *task_ids, wanted=FAILED if by == "filter" else None))
    operation_id = str(answer.operation_id)
    await asyncio.wait_for(stalled.wait(), 20)
    closing = asyncio.create_task(first.behind.close())
    await asyncio.sleep(0)
    goes_on.set()
    await closing
    assert (await second.progress(operation_id)).done == 200
    second.behind.start()
    ended = await until_ended(second, operation_id)
    assert (ended.done, ended.succeeded) == (600, 600)
    retried = [task.retry_of for task in kit_of(stack.settings).tasks() if task.place is Place.LEDGER]
    assert (len(retried), len(set(retried))) == (600, 600)
    await second.behind.close()


async def test_a_process_that_lost_its_work_to_another_writes_nothing_more(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(3))
    request = ask(BulkKind.RETRY, wanted=FAILED).fixed(START_MS + 1)
    operation, operations = begun(request), stack.store.operations
    await begin(stack.store, operation)
    taken = await operations.claim_abandoned("other", START_MS + 1, START_MS + 2)
    assert taken is not None
    with pytest.raises(OperationLostError):
        await bulk.work.advance(operation, request, Pace(3))
    assert kit_of(stack.settings).count(Place.LEDGER) == 0
    assert await operations.claim_abandoned("us", START_MS + 1, START_MS + 2) is None
    await bulk.work.advance(taken, request, Pace(3))
    assert (await bulk.progress(operation.operation_id)).succeeded == 3


async def test_work_of_a_lost_process_is_taken_over_also_after_the_clock_was_set_back(stack: Stack) -> None:
    operations = stack.store.operations
    await begin(stack.store, begun(ask(BulkKind.RETRY, wanted=FAILED)))
    another_hour, a_moment_before = START_MS - 3_600_000, START_MS - 1_000
    for now_ms, is_taken in ((a_moment_before, False), (START_MS + 1_000, False), (another_hour, True)):
        taken = await operations.claim_abandoned("other", now_ms - behind.ABANDONED_MS, now_ms)
        assert (taken is not None) == is_taken


async def test_work_that_breaks_is_given_up_with_the_reason(stack: Stack, bulk: Bulk, monkeypatch: Any) -> None:
    await add_ended(stack.store, *many(501))

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(bulk.work.pages, "page", broken)
    answer = await bulk.run(ask(BulkKind.RETRY, wanted=FAILED))
    ended = await until_ended(bulk, answer.operation_id)
    assert (ended.error, ended.done) == ("ZeroDivisionError: broken", 0)


async def test_many_skips_are_all_counted_and_some_kept(stack: Stack, bulk: Bulk) -> None:
    nobody = [f"n{number:05}" for number in range(KEPT_SKIPS + 700)]
    answer = await bulk.run(ask(BulkKind.DELETE, *nobody))
    ended = await until_ended(bulk, answer.operation_id)
    assert (ended.done, ended.succeeded) == (len(nobody), 0)
    page = await bulk.progress(str(answer.operation_id), limit=3)
    assert [skip.task_id for skip in page.skipped] == nobody[:3]
    page = await bulk.progress(str(answer.operation_id), after=nobody[2], limit=2)
    assert [skip.task_id for skip in page.skipped] == nobody[3:5]
    assert kit_of(stack.settings).count_skips() == KEPT_SKIPS


async def test_a_refused_bulk_request_is_not_carried_out_later(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "ABANDONED_MS", -60_000)
    await stack.start_worker()
    task_id = await stack.publish()
    await stack.drain()
    bulk, room = make_bulk(stack), stack.app.state.services.acceptance.room
    monkeypatch.setattr(room, "_least_bytes", 1 << 60)
    for _ in range(3):
        with pytest.raises(DiskFull):
            await bulk.run(ask(BulkKind.RETRY, task_id, force=True))
    monkeypatch.setattr(room, "_least_bytes", 0)
    await bulk.behind.take_over()
    await bulk.behind.close()
    await stack.drain()
    assert len(stack.publisher.published) == 1
    assert kit_of(stack.settings).count_operations() == 0


async def test_tasks_that_come_to_match_meanwhile_are_done_in_the_background(
    stack: Stack, bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK", 2)
    await add_ended(stack.store, *many(5))
    answer = await bulk.run(ask(BulkKind.RETRY, wanted=FAILED))
    assert (answer.has_ended, answer.done, answer.new_task_ids) == (False, 2, {})
    ended = await until_ended(bulk, answer.operation_id)
    assert (ended.done, ended.succeeded) == (5, 5)


@pytest.mark.parametrize("by", ["filter", "ids"])
async def test_a_chunk_holds_no_more_data_than_memory_and_the_disk_bear(
    stack: Stack, bulk: Bulk, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CHUNK_BYTES", 25_000)
    monkeypatch.setattr(pace, "STEP_S", 60)  # no step is too long
    monkeypatch.setattr(pace, "STEP_ALONE_S", 60)
    tasks = [*many(2, note="x" * 30_000), *many(7, note="x" * 10_000)[2:], *many(30)[7:]]
    await add_ended(stack.store, *tasks)
    sizes: list[int] = []
    advance = stack.store.operations.advance

    async def sized(*arguments: Any, **options: Any) -> Any:
        advanced, outcomes = await advance(*arguments, **options)
        sizes.append(len(outcomes))
        return advanced, outcomes

    monkeypatch.setattr(stack.store.operations, "advance", sized)
    chosen = ask(
        BulkKind.RETRY,
        *([task.task_id for task in tasks] if by == "ids" else ()),
        wanted=None if by == "ids" else FAILED,
    )
    foreseen = await bulk.run(chosen, dry_run=True)
    answer = await bulk.run(chosen)
    ended = await until_ended(bulk, answer.operation_id)
    await bulk.behind.close()
    assert (foreseen.succeeded, ended.total, ended.done, ended.succeeded) == (30, 30, 30, 30)
    assert sizes == [1, 1, 2, 2, 24]
    assert len({task.retry_of for task in kit_of(stack.settings).tasks() if task.place is Place.LEDGER}) == 30


async def test_nothing_asked_for_is_refused(bulk: Bulk) -> None:
    with pytest.raises(InvalidValue):
        await bulk.run(BulkRequest(kind=BulkKind.DELETE))
    with pytest.raises(OperationNotFound):
        await bulk.progress("nobody")
    empty = await bulk.run(BulkRequest(kind=BulkKind.DELETE, task_ids=()))
    assert (empty.has_ended, empty.total, empty.done) == (True, 0, 0)


async def test_cancelling_takes_waiting_tasks_out_of_both_stores(stack: Stack, bulk: Bulk) -> None:
    waiting = [await stack.publish(title=f"{number}") for number in range(3)]
    await add_ended(stack.store, make_task("failed"))
    answer = await bulk.run(ask(BulkKind.CANCEL, *waiting, "failed", "nobody"))
    assert (answer.succeeded, reasons(answer)) == (3, {"failed": "task_ended", "nobody": "task_not_found"})
    assert (await stack.queue.jobs.depths())[5].ready == 0
    for task_id in waiting:
        task = await stack.task(task_id)
        told = (task["status"], task["error_class"], task["error_message"])
        assert told == ("cancelled", "cancelled", "Cancelled on request")
    await stack.start_worker()
    last = await stack.publish(title="last")
    await stack.wait_until_ended(last)
    assert [job.task_id for job in stack.publisher.attempts] == [last]


async def test_a_running_task_is_cancelled_only_with_force(stack: Stack, bulk: Bulk) -> None:
    cancellation = Cancellations(stack.store.changes, stack.queue, stack.app.state.services.clock)
    stack.publisher.hold()
    await stack.start_worker()
    running = [await stack.publish(title=f"{number}") for number in range(2)]

    async def all_run() -> bool:
        return len(stack.publisher.attempts) == 2

    await eventually(all_run, what="the attempts")
    answer = await bulk.run(ask(BulkKind.CANCEL, running[0]))
    assert reasons(answer) == {running[0]: "task_running"}
    with pytest.raises(TaskRunning):
        await cancellation.cancel_task(running[1])
    forced = await bulk.run(ask(BulkKind.CANCEL, running[0], force=True))
    assert forced.succeeded == 1
    assert not (await cancellation.cancel_task(running[1], force=True))
    for task_id in running:
        assert (await stack.wait_until_ended(task_id))["status"] in {"cancelled", "unknown"}
    stack.publisher.release()


async def test_one_task_is_cancelled_once(stack: Stack) -> None:
    clock = stack.app.state.services.clock
    cancellation = Cancellations(stack.store.changes, stack.queue, clock)
    task_id = await stack.publish(title="t")
    nowhere = TaskQueue.connect("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnreachable):
        await Cancellations(stack.store.changes, nowhere, clock).cancel_task(task_id)
    answers = await asyncio.gather(*(cancellation.cancel_task(task_id) for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert sum(isinstance(answer, TaskEnded) for answer in answers) == 4
    with pytest.raises(TaskNotFound):
        await cancellation.cancel_task("nobody")
    await nowhere.close()


async def test_inherited_queue_rows_are_cancelled_unless_they_may_have_run(stack: Stack, bulk: Bulk) -> None:
    row = {"created_at": "2025-01-01 08:00:00", "data": json.dumps({"platform": 3})}
    kit_of(stack.settings).add(
        Place.LEDGER,
        row | {"task_id": "waits", "status": "pending"},
        row | {"task_id": "ran", "status": "running"},
    )
    answer = await bulk.run(ask(BulkKind.CANCEL, "waits", "ran"))
    assert (answer.succeeded, reasons(answer)) == (1, {"ran": "task_ended"})


async def test_deleting_and_archiving_move_ended_tasks(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, make_task("a"), make_task("b"))
    await accept(stack.store, make_task("waiting"))
    deleted = await bulk.run(ask(BulkKind.DELETE, "a", "waiting"))
    assert reasons(deleted) == {"waiting": "task_unfinished"}
    archived = await bulk.run(ask(BulkKind.ARCHIVE, wanted=FAILED))
    assert archived.succeeded == 1
    reasons_of = {task_id: (await stack.task(task_id))["archive_reason"] for task_id in ("a", "b")}
    assert reasons_of == {"a": "deleted", "b": "age"}
    retried = await bulk.run(ask(BulkKind.RETRY, "a"))
    assert list(retried.new_task_ids) == ["a"]


async def test_clear_empties_what_it_names_and_destroys_nothing(stack: Stack, bulk: Bulk) -> None:
    await add_ended(stack.store, *many(3))
    await add_ended(stack.store, make_task("done"), status=TaskStatus.SUCCESS)
    await accept(stack.store, make_task("waiting"), make_task("later", due_at_ms=2**42))
    with pytest.raises(TasksPending):
        await bulk.clear("all")
    with pytest.raises(InvalidValue):
        await bulk.clear("everything")
    assert (await bulk.clear("failed", dry_run=True)).total == 3
    assert (await bulk.clear("failed")).succeeded == 3
    assert (await bulk.clear("success")).succeeded == 1
    assert await statuses(stack) == {"pending": 1, "scheduled": 1}
    assert (await bulk.clear("pending")).succeeded == 2
    assert await statuses(stack) == {"cancelled": 2}
    assert (await bulk.clear("all")).succeeded == 2
    assert await statuses(stack) == {}
    assert kit_of(stack.settings).count(Place.ARCHIVE) == 6


def test_the_set_of_a_filter_is_fixed_when_it_begins() -> None:
    request = ask(BulkKind.CANCEL, wanted=TaskFilter(created_before_ms=START_MS + 9)).fixed(START_MS + 5)
    assert request.filter == TaskFilter(created_before_ms=START_MS + 5, place=Place.LEDGER)
