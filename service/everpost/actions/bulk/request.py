"""The requests and answers of bulk work."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from everpost.errors import InvalidValue
from everpost.store.changes import Outcome
from everpost.store.history import TaskFilter
from everpost.store.operations import Operation, OperationStatus
from everpost.task.place import Place
from everpost.task.resolution_rules import DecisionKind

MAX_IDS = 100_000


class BulkKind(StrEnum):
    """What is done to each task."""

    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"
    ARCHIVE = "archive"
    EDIT = "edit"
    UNDO = "undo"
    RESOLVE = "resolve"


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to do with which tasks: the given ids, all that match the filter, or with both, the ids that match.

    Attributes:
        ended_before_ms: For archiving, instead of ids or a filter: successes that ended before this time.
        force: For a retry: also tasks that were, or may have been, published. For a cancellation: also running ones.
        data: For a retry or an edit: the JSON merge patch of each task's data.
        batch_id: For a retry: the fan-out that the tasks are of, and the new tasks too; of a chain of retries, only the
            newest is retried. None: the new tasks' batch is the operation.
        by: For an edit or a decision: who wants it.
        why: For an edit or a decision: the reason.
        decision: About tasks of unknown outcome.
        undoes: To undo: the cancellation whose tasks are retried. The filter only has the scope that it was limited to.
    """

    kind: BulkKind
    task_ids: tuple[str, ...] | None = None
    filter: TaskFilter | None = None
    ended_before_ms: int | None = None
    force: bool = False
    data: dict[str, Any] | None = None
    batch_id: str | None = None
    by: str | None = None
    why: str | None = None
    undoes: str | None = None
    decision: DecisionKind | None = None

    def fixed(self, now_ms: int) -> "BulkRequest":
        """The request limited to tasks that existed before `now_ms`.

        So the tasks that the work itself creates are never included.

        Raises:
            InvalidValue: Neither ids nor a filter are given, or too many ids.
        """
        if self.ended_before_ms is not None or self.undoes is not None:
            return self
        if self.task_ids is None and self.filter is None:
            raise InvalidValue("Give task_ids, a filter, or both.")
        if self.task_ids is not None and len(self.task_ids) > MAX_IDS:
            raise InvalidValue(f"At most {MAX_IDS} ids at once; a filter takes any number.", "$.task_ids")
        ids = None if self.task_ids is None else tuple(dict.fromkeys(self.task_ids))
        return msgspec.structs.replace(self, task_ids=ids, filter=self._fixed_filter(ids, now_ms))

    def _fixed_filter(self, ids: tuple[str, ...] | None, now_ms: int) -> TaskFilter | None:
        if self.filter is None:
            return None
        before_ms = self.filter.created_before_ms
        wanted = msgspec.structs.replace(
            self.filter, created_before_ms=now_ms if before_ms is None else min(before_ms, now_ms)
        )
        if ids is not None:
            wanted = msgspec.structs.replace(wanted, task_ids=ids)
        if wanted.cause is not None:
            wanted = msgspec.structs.replace(wanted, place=Place.HISTORY)
        if self.kind in {BulkKind.CANCEL, BulkKind.EDIT} and wanted.place is None:
            wanted = msgspec.structs.replace(wanted, place=Place.LEDGER)  # other tasks cannot be cancelled or edited
        return wanted


FAILURES = "failures"  # the written place of a filter with a cause: earlier versions know none, and must not go on
EARLIER_NAMES = {"task_queue": Place.LEDGER, "publish_tasks": Place.HISTORY, FAILURES: Place.HISTORY}


def write_request(request: BulkRequest) -> str:
    """The request as an operation stores it."""
    fields = msgspec.to_builtins(request)
    if request.filter is not None and request.filter.cause is not None:
        fields["filter"]["place"] = FAILURES
    return msgspec.json.encode(fields).decode()


def read_request(text: str) -> BulkRequest:
    """The stored request of an operation. Earlier versions named a place by its table."""
    fields = msgspec.json.decode(text)
    wanted = fields.get("filter")
    if wanted is not None and wanted.get("place") in EARLIER_NAMES:
        wanted["place"] = EARLIER_NAMES[wanted["place"]]
    return msgspec.convert(fields, BulkRequest)


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of bulk work; for a dry run, what it would be.

    Attributes:
        operation_id: The `batch_id` of all retries this made; None for a dry run.
        has_ended: False while it continues in the background.
        total: Tasks that matched.
        done: Tasks checked so far.
        succeeded: Those of them that were changed.
        new_task_ids: The retry of each task. Empty for a dry run, and for work in the background; find those by
            `batch_id`.
        skipped: The skipped tasks; those of an operation in the background come page by page, see `Bulk.progress`.
        error: Why it was given up.
    """

    operation_id: str | None
    kind: BulkKind
    has_ended: bool
    dry_run: bool = False
    total: int
    done: int
    succeeded: int
    new_task_ids: dict[str, str] = {}
    skipped: Sequence[Outcome] = ()
    error: str | None = None


def answer_of(operation: Operation, outcomes: Sequence[Outcome] = (), *, dry_run: bool = False) -> BulkAnswer:
    """The answer for an operation in its present state."""
    return BulkAnswer(
        operation_id=None if dry_run else operation.operation_id,
        kind=BulkKind(operation.kind),
        has_ended=operation.status is not OperationStatus.RUNNING,
        dry_run=dry_run,
        total=max(operation.total, operation.done),
        done=operation.done,
        succeeded=operation.succeeded,
        new_task_ids={} if dry_run else _retries(outcomes),
        skipped=[outcome for outcome in outcomes if outcome.reason is not None],
        error=operation.error,
    )


def _retries(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {outcome.task_id: outcome.new_task.task_id for outcome in outcomes if outcome.new_task}
