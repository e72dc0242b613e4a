"""Tasks, attempts and ends, made quickly for the tests of the contract."""

from typing import Any

from everpost.clock import to_text
from everpost.store import Store
from everpost.store.ledger import ClaimFacts, FirstAnswer, IdempotencyKey, Once
from everpost.task.model import Attempt, ErrorClass, Task, TaskRecord, TaskStatus
from store_rows import START_MS, make_task

KEPT_MS = 86_400_000


def attempt_of(number: int = 1, outcome: TaskStatus = TaskStatus.RETRY, **fields: Any) -> Attempt:
    """An attempt that took a second."""
    times: dict[str, Any] = {"started_at": to_text(START_MS + 1_000), "finished_at": to_text(START_MS + 2_000)}
    return Attempt(**times | fields, number=number, outcome=outcome)


def record_of(task_id: str, status: TaskStatus = TaskStatus.SUCCESS, number: int = 1, **fields: Any) -> TaskRecord:
    """How a task ended after an attempt."""
    made: dict[str, Any] = {"finished_at_ms": START_MS + 2_000, "attempt": attempt_of(number, status)}
    if status is TaskStatus.FAILED:
        made |= {"error_class": ErrorClass.AUTH, "error_message": "Sign in again"}
    return TaskRecord(**made | fields, task_id=task_id, status=status)


def once_of(key: str = "key", body: str = "a body", answer: str = "first") -> Once:
    """A request with an Idempotency-Key, and its answer."""
    return Once(key_of(key, body), FirstAnswer(answer, f'{{"task_id":"{answer}"}}'))


def key_of(key: str = "key", body: str = "a body", kept_ms: int = KEPT_MS) -> IdempotencyKey:
    """An Idempotency-Key as it came with a request."""
    return IdempotencyKey(key, body, kept_ms)


async def accept(store: Store, *tasks: Task | str, **fields: Any) -> None:
    """Accept tasks; a text is the id of one made with `fields`."""
    made = [make_task(task, **fields) if isinstance(task, str) else task for task in tasks]
    await store.ledger.accept(made, START_MS)


async def end(store: Store, *task_ids: str, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """End tasks of the ledger."""
    await store.ledger.end([record_of(task_id, status, **fields) for task_id in task_ids])


async def add_ended(store: Store, *tasks: Task | str, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Accept tasks, and end them with `status`."""
    await accept(store, *tasks, **fields)
    await end(store, *(task if isinstance(task, str) else task.task_id for task in tasks), status=status)


async def facts_of(store: Store, task_id: str) -> ClaimFacts:
    """What the ledger says of a task."""
    return (await store.ledger.check_claims({task_id: None})).known[task_id]
