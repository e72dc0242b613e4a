"""Bulk work for clients: a small set is done before the answer, a large one in the background."""

import msgspec

from everpost.actions.bulk.behind import WorkBehind
from everpost.actions.bulk.pages import BEGINNING
from everpost.actions.bulk.request import BulkAnswer, BulkKind, BulkRequest, answer_of, read_request, write_request
from everpost.actions.bulk.work import Work
from everpost.actions.edit import EditTools
from everpost.actions.retry import RetryTools
from everpost.clock import to_text
from everpost.errors import Conflict, InvalidValue, OperationNotFound, TasksPending
from everpost.platforms import CALLBACK
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.store.operations import Operation, OperationStatus, UndoneError
from everpost.task.model import TaskStatus, new_task_id
from everpost.task.place import Place

AT_ONCE = 500  # tasks; a set up to this size is done before the answer, if its data fits into one transaction

CLEARED = {
    "pending": (BulkKind.CANCEL, TaskFilter(place=Place.LEDGER)),
    "failed": (BulkKind.DELETE, TaskFilter(status=TaskStatus.FAILED)),
    "success": (BulkKind.DELETE, TaskFilter(status=TaskStatus.SUCCESS)),
    "all": (BulkKind.DELETE, TaskFilter()),
}
"""The meaning of `clear`: waiting tasks are cancelled, ended ones are archived; nothing is destroyed."""


class Bulk:
    """Does bulk work."""

    def __init__(self, store: Store, tools: RetryTools, edits: EditTools | None = None) -> None:
        """Without `edits`, it cannot edit."""
        self._clock = tools.clock
        self._owner = f"{tools.acceptance.accepted_by} {new_task_id(tools.clock())}"
        self._ledger = store.ledger
        self._history = store.history
        self._operations = store.operations
        self.work = Work(store, tools, edits)
        self.behind = WorkBehind(store, self.work, tools.clock, owner=self._owner)

    async def run(self, request: BulkRequest, *, dry_run: bool = False) -> BulkAnswer:
        """Do the work; for a dry run, only say what it would do.

        Raises:
            InvalidValue: Neither ids nor a filter are given, or too many ids, or `q` is too long.
            Unavailable: The database cannot be written.
        """
        now_ms = self._clock()
        request = request.fixed(now_ms)
        total = await self.work.pages.count(request)
        operation = self._operation(request, total, now_ms)
        if dry_run:
            return await self._foresee(operation, request)
        operation, outcomes = await self.work.begin(operation, request, at_once=total <= AT_ONCE)
        if operation.status is OperationStatus.RUNNING:
            self.behind.run(operation)
            return answer_of(operation)
        return answer_of(operation, outcomes)

    async def clear(self, what: str, *, dry_run: bool = False) -> BulkAnswer:
        """`pending`: cancel waiting tasks. `failed`, `success`, `all`: archive tasks that have ended so.

        Raises:
            InvalidValue: `what` is something else.
            TasksPending: For `all`: accepted tasks are unfinished.
        """
        if what not in CLEARED:
            raise InvalidValue(f"What can be cleared is {', '.join(CLEARED)}.", "$.status")
        unfinished = await self._count_unfinished() if what == "all" else 0
        if unfinished:
            raise TasksPending(unfinished)
        kind, wanted = CLEARED[what]
        return await self.run(BulkRequest(kind=kind, filter=wanted), dry_run=dry_run)

    async def _count_unfinished(self) -> int:
        """How many tasks have not ended. Callbacks may be tried for hours, and do not count."""
        unfinished = await self._ledger.count_unfinished()
        if not unfinished:
            return 0
        callbacks = TaskFilter(place=Place.LEDGER, platform=(CALLBACK,))
        return unfinished - (await self._history.total(callbacks, None)).total

    async def archive(self, ended_before_ms: int) -> BulkAnswer:
        """Archive successes that ended before a time."""
        return await self.run(BulkRequest(kind=BulkKind.ARCHIVE, ended_before_ms=ended_before_ms))

    async def undo_cancellation(self, operation: Operation) -> BulkAnswer:
        """Retry the tasks that an operation has cancelled, each once; a repeated call answers how far that has come.

        A task that was retried since, or is no longer cancelled, is skipped.

        Raises:
            Conflict: The operation does not cancel, or goes on.
            Unavailable: The database cannot be written.
        """
        operation_id = operation.operation_id
        if operation.kind != BulkKind.CANCEL or operation.status is OperationStatus.RUNNING:
            raise Conflict("Only bulk work that has cancelled tasks, and has ended, can be undone so.", operation_id)
        undo_id = await self._operations.find_undo(operation_id)
        if undo_id is None:
            wanted = read_request(operation.request).filter
            scope = None if wanted is None or wanted.reach is None else TaskFilter(reach=wanted.reach)
            try:
                return await self.run(BulkRequest(kind=BulkKind.UNDO, undoes=operation_id, filter=scope))
            except UndoneError:  # at the same time, by another caller
                undo_id = await self._operations.find_undo(operation_id)
        if undo_id is None:
            raise OperationNotFound(operation_id)
        return await self.progress(undo_id)

    async def progress(self, operation_id: str, after: str = "", limit: int = 1_000) -> BulkAnswer:
        """The progress of an operation, and its skipped tasks with ids after `after`, in their order, at most `limit`.

        Raises:
            OperationNotFound: There is no such operation.
        """
        found = await self._operations.find(operation_id, after, limit)
        if found is None:
            raise OperationNotFound(operation_id)
        return answer_of(*found)

    def _operation(self, request: BulkRequest, total: int, now_ms: int) -> Operation:
        return Operation(
            operation_id=new_task_id(now_ms),
            kind=request.kind,
            request=write_request(request),
            status=OperationStatus.RUNNING,
            total=total,
            position=BEGINNING,
            owner=self._owner,
            created_at=to_text(now_ms),
            updated_at=to_text(now_ms),
            undoes=request.undoes,
        )

    async def _foresee(self, operation: Operation, request: BulkRequest) -> BulkAnswer:
        outcomes = await self.work.foresee(operation, request)
        succeeded = sum(outcome.reason is None for outcome in outcomes)
        seen = msgspec.structs.replace(operation, done=len(outcomes), succeeded=succeeded, status=OperationStatus.DONE)
        return answer_of(seen, outcomes, dry_run=True)
