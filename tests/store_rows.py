"""Accepted and ended tasks in a store, for any test, made quickly through the port."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from everpost.clock import from_text
from everpost.errors import TaskRunning
from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.changes import Remove, Retry
from everpost.store.history import TaskFilter
from everpost.store.lists.counted import accounts_reached
from everpost.store.operations import Operation
from everpost.task.candidate import Candidate
from everpost.task.duplicate_rules import Guard
from everpost.task.model import ErrorClass, Task, TaskRecord, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.removal_rules import decide_removal
from everpost.task.resolution_rules import UNSAID, Grounds
from everpost.task.retry_rules import RetryAction, RetryDecision, succession_of

START_MS = 1_790_000_000_000
EVERY_FILTER: dict[str, Any] = {
    "status": "failed",
    "platform": ("douyin", "3"),
    "account_id": "a",
    "created_after_ms": 1,
    "created_before_ms": 2,
    "error_class": "auth",
    "cause": "0123456789ab",
    "batch_id": "b",
    "retry_of": "r",
    "submitted_by": "shop",
    "task_ids": ("x", "y"),
    "q": "测试",
    "reach": ("douyin", "3\na"),
}
"""A value for each filter of lists."""

ACCOUNTS_ALONE = ("douyin\na", "3\na", "bilibili\nb")
"""A `reach` without whole platforms."""


def leads_of(wanted: TaskFilter) -> list[str]:
    """The fields of a filter that its list may follow; one empty text if it has none of them."""
    names = [name for name in ("account_id", "status", "platform", "error_class") if getattr(wanted, name) is not None]
    return [*names, *(["reach"] if accounts_reached(wanted) else [])] or [""]


def make_task(task_id: str, **changed: Any) -> Task:
    """A task that is not accepted yet; other arguments than a Task's fields go into its data."""
    fields = {name: changed.pop(name) for name in list(changed) if name in Task.__struct_fields__}
    data = {"platform": "douyin", "account_id": "a", "title": "测试视频", "description": "这是描述", **changed}
    data |= {name: fields[name] for name in ("account_id", "title") if name in fields}
    defaults: dict[str, Any] = {
        "task_data": json.dumps(data, ensure_ascii=False).encode(),
        "platform": "douyin",
        "account_id": "a",
        "title": "测试视频",
        "created_at_ms": START_MS,
        "accepted_by": "test",
    }
    return Task(**defaults | fields, task_id=task_id)


async def accept(store: Store, *tasks: Task) -> None:
    """Write tasks into the ledger."""
    await store.ledger.accept(tasks, START_MS)


async def end(store: Store, *task_ids: str, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """End tasks of the ledger, without an attempt."""
    if status is TaskStatus.FAILED:
        fields = {"error_class": ErrorClass.AUTH, "error_message": "Sign in again", **fields}
    records = [
        TaskRecord(**{"finished_at_ms": START_MS + 1_000} | fields, task_id=task_id, status=status)
        for task_id in task_ids
    ]
    await store.ledger.end(records)


async def add_ended(store: Store, *tasks: Task, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Write tasks that have ended."""
    await accept(store, *tasks)
    await end(store, *(task.task_id for task in tasks), status=status, **fields)


async def remove(store: Store, *task_ids: str, now_ms: int = START_MS) -> dict[str, str | None]:
    """Move tasks to the archive; return why the others stay."""
    change = Remove(task_ids=task_ids, reason=Reason.DELETED, rule=decide_removal)
    return {outcome.task_id: outcome.reason for outcome in await store.changes.apply(change, now_ms)}


async def begin(store: Store, operation: Operation) -> None:
    """Keep a new operation as it is, without a step."""
    now_ms = from_text(operation.updated_at) or 0
    await store.operations.advance(operation, None, (), operation.position, now_ms, is_new=True)


def retry_as(
    new_tasks: Mapping[str, Task],
    decide: Callable[[Position, Sequence[Position]], RetryDecision],
    *,
    grounds: Grounds = UNSAID,
    guard: Guard | None = None,
    is_edited: bool = False,
) -> Retry:
    """Retry tasks, each as the given one. Redis says of a task that the store does not have that it has failed.

    A task that the rule wants taken out of Redis is held by a worker.

    Args:
        guard: That of all new tasks.
        is_edited: Their data was edited.
    """

    def rule(task: Candidate) -> RetryDecision:
        position = task.position or Position(
            task_id=task.task_id, place=Place.HISTORY, status="failed", chain_id=task.task_id
        )
        decision = decide(position, task.relatives)
        if decision.action is RetryAction.WITHDRAW:
            return RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(task.task_id))
        if decision.action is not RetryAction.RETRY:
            return decision
        chain = [position, *task.relatives]
        succession = succession_of(chain, new_tasks[task.task_id], guard, is_edited=is_edited)
        return msgspec.structs.replace(decision, succession=succession)

    return Retry(list(new_tasks), rule, grounds)


def ids(items: Sequence[Any]) -> list[str]:
    """The ids of a page's items."""
    return [item.task_id for item in items]
