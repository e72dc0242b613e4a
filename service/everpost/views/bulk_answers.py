"""The answers of bulk work: the numbers, one sentence, and the skipped tasks."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from everpost.actions.bulk import BulkAnswer, BulkKind
from everpost.error_codes import meaning_of_codes
from everpost.store.changes import Outcome
from everpost.store.operations import Operation, OperationStatus

REASONS: Mapping[str, str] = MappingProxyType(
    {
        **meaning_of_codes(),
        "superseded": "It was retried before; retry its newest retry instead.",
        "task_unfinished": "It has not ended; cancel it first.",
        "task_archived": "It is in the archive.",
    }
)
"""The meaning of the codes of skipped tasks."""


class PassedOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """A skipped task, and the reason."""

    task_id: str
    code: str
    detail: str
    other_task_id: str | None = None


class BulkReply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of bulk work, or its progress.

    Attributes:
        status: `running` means that it continues in the background; its progress is at /operations/{operation_id}.
        operation_id: The `batch_id` of all retries it makes; null for a dry run.
        done: How many tasks were checked; a dry run stops at about ten thousand.
        new_task_ids: The new tasks of a retry; for a retry in the background, find them by `batch_id`.
        retries: The new task of each task.
        errors: The skipped tasks.
    """

    success: bool
    message: str
    operation_id: str | None
    kind: BulkKind
    status: OperationStatus
    dry_run: bool
    total: int
    done: int
    success_count: int
    failed_count: int
    succeeded: int
    new_task_ids: Sequence[str]
    retries: Mapping[str, str]
    errors: Sequence[PassedOver]


def reply_of(answer: BulkAnswer) -> BulkReply:
    """The result of bulk work in the form of answers."""
    status = OperationStatus.RUNNING if not answer.has_ended else OperationStatus.DONE
    return BulkReply(
        success=answer.error is None,
        message=message_of(answer),
        operation_id=answer.operation_id,
        kind=answer.kind,
        status=status if answer.error is None else OperationStatus.FAILED,
        dry_run=answer.dry_run,
        total=answer.total,
        done=answer.done,
        success_count=answer.succeeded,
        failed_count=answer.done - answer.succeeded,
        succeeded=answer.succeeded,
        new_task_ids=list(answer.new_task_ids.values()),
        retries=answer.new_task_ids,
        errors=[_passed_over(skip) for skip in answer.skipped],
    )


def _passed_over(skip: Outcome) -> PassedOver:
    code = skip.reason or ""
    return PassedOver(skip.task_id, code, REASONS.get(code, code), skip.other_task_id)


VERBS = MappingProxyType(
    {
        "retry": "retried",
        "cancel": "cancelled",
        "delete": "deleted",
        "archive": "archived",
        "edit": "edited",
        "undo": "retried",
        "resolve": "resolved",
    }
)


def message_of(answer: BulkAnswer) -> str:
    """One sentence for people."""
    verb = VERBS[answer.kind]
    if answer.error is not None:
        return f"Given up after {answer.done} of {answer.total} tasks: {answer.error}"
    if answer.dry_run:
        sight = "" if answer.done == answer.total else f"; only {answer.done} were checked"
        return f"{answer.succeeded} of {answer.total} tasks would be {verb}{sight}"
    if not answer.has_ended:
        return f"{answer.total} tasks are being {verb}; {answer.done} done"
    return f"{answer.succeeded} of {answer.total} tasks {verb}"


class ListedOperation(msgspec.Struct, frozen=True, kw_only=True):
    """Bulk work in a list. Times are UTC text.

    Attributes:
        filter: The fields of the filter that chose its tasks, as stored; null if they were named.
        named: How many tasks were named; null if a filter chose them, or it has ended.
        undoes: The bulk cancellation that it undoes.
    """

    operation_id: str
    kind: str
    status: OperationStatus
    total: int
    done: int
    succeeded: int
    filter: dict[str, Any] | None
    named: int | None
    force: bool
    undoes: str | None
    error: str | None
    created_at: str
    updated_at: str


def listed_operation(operation: Operation) -> ListedOperation:
    """Bulk work in the form of lists."""
    request = msgspec.json.decode(operation.request)
    wanted, ids = request.get("filter"), request.get("task_ids")
    shown = None if wanted is None else {name: value for name, value in wanted.items() if value is not None}
    if shown is not None:
        shown.pop("task_ids", None)
    return ListedOperation(
        operation_id=operation.operation_id,
        kind=operation.kind,
        status=operation.status,
        total=max(operation.total, operation.done),
        done=operation.done,
        succeeded=operation.succeeded,
        filter=shown,
        named=None if ids is None else len(ids),
        force=bool(request.get("force", False)),
        undoes=operation.undoes,
        error=operation.error,
        created_at=operation.created_at,
        updated_at=operation.updated_at,
    )
