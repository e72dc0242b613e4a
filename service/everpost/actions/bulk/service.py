"""Runs bulk work: a small set before the answer, a large one behind it, in chunks that survive any crash."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import msgspec
import structlog

from everpost.actions.bulk.request import BulkAnswer, BulkKind, BulkRequest, answer_of, read_request
from everpost.actions.bulk.retrying import RetryStep
from everpost.actions.bulk.steps import CancelStep, RemoveStep, Step
from everpost.actions.publish import Intake
from everpost.actions.retry import Recovery
from everpost.clock import Clock, to_text
from everpost.errors import InvalidValue, OperationNotFound, ServiceError, TasksPending, Unavailable
from everpost.pace import Pace
from everpost.queue.client import TaskQueue
from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.history import SEARCH_S, TaskFilter
from everpost.store.operations import Operation, OperationLostError, OperationStatus, Skip
from everpost.store.sqlite.file.others import OtherWriters
from everpost.store.sqlite.tasks.chunks import Outcome
from everpost.task.model import TaskStatus, new_task_id
from everpost.task.place import Place

log = structlog.get_logger("everpost.bulk")

AT_ONCE = 500  # a set no larger is done before the answer, unless it has more data than a chunk
CHUNK = 500  # the most tasks of one transaction; behind an answer a step has as many as `Pace` finds right
CHUNK_BYTES = 16 << 20  # of data, several times over in memory on its way; nobody else writes while it is written
FORESEEN = 10_000  # tasks a dry run looks at one by one
ABANDONED_MS = 30_000  # an operation not advanced for so long has lost its process
SEARCH_BEHIND_S = 60.0  # for finding a chunk's tasks while no client waits
LOOK_S = 5.0
AGAIN_S = 1.0
LAST_CHUNK_S = 5.0  # what closing leaves the chunk under way

CLEARED = {
    "pending": (BulkKind.CANCEL, TaskFilter(place=Place.LEDGER)),
    "failed": (BulkKind.DELETE, TaskFilter(status=TaskStatus.FAILED)),
    "success": (BulkKind.DELETE, TaskFilter(status=TaskStatus.SUCCESS)),
    "all": (BulkKind.DELETE, TaskFilter()),
}
"""What `clear` does: waiting tasks are cancelled, ended ones go to the archive; nothing is destroyed."""


class Bulk:
    """Does one thing to many tasks. Several processes may run one; each operation has one owner at a time."""

    def __init__(
        self,
        *,
        store: Store,
        recovery: Recovery,
        queue: TaskQueue,
        intake: Intake,
        clock: Clock,
    ) -> None:
        self._database = store.database
        self._archive = store.archive
        self._ledger = store.ledger
        self._operations = store.operations
        self._candidates = store.candidates
        self._history = store.history
        self._recovery = recovery
        self._queue = queue
        self._intake = intake
        self._clock = clock
        self._owner = f"{intake.accepted_by} {new_task_id(clock())}"
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()  # of all bulk work behind answers, one step goes on at a time
        self._search_behind = asyncio.Lock()  # the other connection for searches is left to clients that wait
        self._looking: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        """Begin to take over what other processes left undone, now and every `LOOK_S`."""
        self._looking = asyncio.create_task(self._look_for_abandoned(), name="bulk")

    async def close(self) -> None:
        """Stop after the chunk under way; another process, or the next start, goes on."""
        self._is_closing = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,), timeout=LAST_CHUNK_S)
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=LAST_CHUNK_S)
            for task in late:
                task.cancel()
        with suppress(ServiceError):
            await self._operations.release(self._owner)

    async def run(self, request: BulkRequest, *, dry_run: bool = False) -> BulkAnswer:
        """Do it, or say what it would do.

        Raises:
            InvalidValue: Neither ids nor a filter are given, or too many ids, or `q` is too long.
            Unavailable: The database cannot be written.
        """
        now_ms = self._clock()
        request = request.fixed(now_ms)
        total = await self._size(request)
        operation = self._operation(request, total, now_ms)
        if dry_run:
            return await self._foresee(operation, request)
        outcomes: list[Outcome] = []
        if total > AT_ONCE:
            await self._operations.begin(operation)
        else:  # what is refused leaves no operation behind, or it would be done later, too
            operation, outcomes = await self._advance(operation, request, is_new=True)
        if operation.status is OperationStatus.RUNNING:
            self._run_behind(operation)
            return answer_of(operation)
        return answer_of(operation, outcomes)

    async def clear(self, what: str, *, dry_run: bool = False) -> BulkAnswer:
        """`pending`: cancel what waits. `failed`, `success`, `all`: archive what has ended so.

        Raises:
            InvalidValue: `what` is none of these.
            TasksPending: `all`, while accepted tasks are not finished.
        """
        if what not in CLEARED:
            raise InvalidValue(f"What can be cleared is {', '.join(CLEARED)}.", "$.status")
        unfinished = await self._ledger.count_unfinished() if what == "all" else 0
        if unfinished:
            raise TasksPending(unfinished)
        kind, wanted = CLEARED[what]
        return await self.run(BulkRequest(kind=kind, filter=wanted), dry_run=dry_run)

    async def progress(self, operation_id: str) -> BulkAnswer:
        """How far an operation has come.

        Raises:
            OperationNotFound: There is none.
        """
        return answer_of(await self.find(operation_id))

    async def find(self, operation_id: str) -> Operation:
        """The operation as it is written down.

        Raises:
            OperationNotFound: There is none.
        """
        operation = await self._operations.find(operation_id)
        if operation is None:
            raise OperationNotFound(operation_id)
        return operation

    async def skips(self, operation_id: str, after: str = "", limit: int = 1_000) -> list[Skip]:
        """The tasks an operation did nothing to, by id, behind `after`.

        Raises:
            OperationNotFound: There is none.
        """
        await self.find(operation_id)
        return await self._operations.find_skips(operation_id, after, limit)

    async def archive(self, ended_before_ms: int) -> BulkAnswer:
        """Archive successes that ended before a time."""
        return await self.run(BulkRequest(kind=BulkKind.ARCHIVE, ended_before_ms=ended_before_ms))

    async def _size(self, request: BulkRequest) -> int:
        if request.ended_before_ms is not None:
            return await self._archive.count_older(request.ended_before_ms)
        if request.filter is None:
            return len(request.task_ids or ())
        return (await self._history.total(request.filter, limit=None)).total

    def _operation(self, request: BulkRequest, total: int, now_ms: int) -> Operation:
        return Operation(
            operation_id=new_task_id(now_ms),
            kind=request.kind,
            request=msgspec.json.encode(request).decode(),
            status=OperationStatus.RUNNING,
            total=total,
            owner=self._owner,
            created_at=to_text(now_ms),
            updated_at=to_text(now_ms),
        )

    async def _foresee(self, operation: Operation, request: BulkRequest) -> BulkAnswer:
        step = self._step(operation, request)
        outcomes: list[Outcome] = []
        task_ids, _ = await self._page(request, None, FORESEEN)  # all at once: each page of a search is a search
        while left := task_ids[len(outcomes) :]:
            outcomes += await step.foresee(await self._fitting(left[:CHUNK]))
        succeeded = sum(outcome.reason is None for outcome in outcomes)
        seen = msgspec.structs.replace(operation, done=len(outcomes), succeeded=succeeded, status=OperationStatus.DONE)
        return answer_of(seen, outcomes, dry_run=True)

    def _run_behind(self, operation: Operation) -> None:
        task = asyncio.create_task(self._run_to_end(operation), name=f"bulk {operation.operation_id}")
        self._running[operation.operation_id] = task
        task.add_done_callback(lambda _: self._running.pop(operation.operation_id, None))

    async def _run_to_end(self, operation: Operation) -> None:
        request = read_request(operation.request)
        log.info("operation.began", operation_id=operation.operation_id, kind=operation.kind, total=operation.total)
        pace = Pace(CHUNK, others=OtherWriters(self._database))
        try:
            while operation.status is OperationStatus.RUNNING and not self._is_closing:
                operation = await self._advance_patiently(operation, request, pace)
        except OperationLostError:
            log.warning("operation.taken_over", operation_id=operation.operation_id)
        except Exception as error:
            log.exception("operation.failed", operation_id=operation.operation_id)
            await self._operations.fail(operation, f"{type(error).__name__}: {error}", self._clock())
        else:
            event = "operation.ended" if operation.status is OperationStatus.DONE else "operation.left"
            log.info(event, operation_id=operation.operation_id, done=operation.done, succeeded=operation.succeeded)

    async def _advance_patiently(self, operation: Operation, request: BulkRequest, pace: Pace) -> Operation:
        try:
            operation, _ = await self._advance(operation, request, pace=pace)
        except Unavailable as error:
            log.warning("operation.waits", operation_id=operation.operation_id, error=error.message)
            await asyncio.sleep(AGAIN_S)
        return operation

    async def _advance(
        self, operation: Operation, request: BulkRequest, *, is_new: bool = False, pace: Pace | None = None
    ) -> tuple[Operation, list[Outcome]]:
        """Do the next chunk; the same one again after a crash before its transaction, never after it.

        Args:
            pace: Of work that no client waits for.
        """
        if pace is None:
            task_ids, following = await self._next(request, operation.position, CHUNK, SEARCH_S)
            return await self._change(operation, request, task_ids, following, is_new=is_new)
        async with self._search_behind if _is_search(request) else nullcontext():
            task_ids, following = await self._next(request, operation.position, pace.size, SEARCH_BEHIND_S)
        async with self._turn, pace.step():
            return await self._change(operation, request, task_ids, following, pace=pace)

    async def _change(
        self,
        operation: Operation,
        request: BulkRequest,
        task_ids: Sequence[str],
        following: str | None,
        *,
        is_new: bool = False,
        pace: Pace | None = None,
    ) -> tuple[Operation, list[Outcome]]:
        step = self._step(operation, request)
        chunk = await step.prepare(task_ids)
        change = chunk.change if pace is None else pace.timed(chunk.change)
        operation, outcomes = await self._operations.commit_chunk(
            operation, change, chunk.refused, following, self._clock(), is_new=is_new
        )
        await step.finish(outcomes)
        return operation, outcomes

    async def _next(
        self, request: BulkRequest, position: str | None, limit: int, within_s: float
    ) -> tuple[Sequence[str], str | None]:
        """The ids of the chunk at `position`, at most `limit`, and the position of the next one."""
        ids, following = await self._page(request, position, limit, within_s)
        fitting = await self._fitting(ids)
        return (ids, following) if fitting == ids else await self._page(request, position, len(fitting), within_s)

    async def _fitting(self, task_ids: Sequence[str]) -> Sequence[str]:
        """The first of the tasks, as many as have data for one chunk."""
        return task_ids[: await self._candidates.count_fitting(task_ids, CHUNK_BYTES)]

    async def _page(
        self, request: BulkRequest, position: str | None, limit: int, within_s: float = SEARCH_S
    ) -> tuple[Sequence[str], str | None]:
        if request.ended_before_ms is not None:
            return await self._archive.page_older(request.ended_before_ms, position, limit)
        if request.filter is not None:
            return await self._history.page_ids(request.filter, position, limit, within_s=within_s)
        ids = request.task_ids or ()
        start = int(position or 0)
        end = start + limit
        return ids[start:end], str(end) if end < len(ids) else None

    def _step(self, operation: Operation, request: BulkRequest) -> Step:
        match request.kind:
            case BulkKind.DELETE:
                return RemoveStep(self._candidates, self._clock, Reason.DELETED)
            case BulkKind.ARCHIVE:
                return RemoveStep(self._candidates, self._clock, Reason.AGE)
            case BulkKind.CANCEL:
                return CancelStep(self._candidates, self._queue, self._clock, force=request.force)
            case BulkKind.RETRY:
                return RetryStep(
                    candidates=self._candidates,
                    recovery=self._recovery,
                    queue=self._queue,
                    intake=self._intake,
                    clock=self._clock,
                    batch_id=operation.operation_id,
                    force=request.force,
                    newest_only=request.filter is not None,
                )

    async def _look_for_abandoned(self) -> None:
        while True:
            try:
                await self._take_over()
            except Unavailable as error:
                log.warning("operation.look_failed", error=error.message)
            except Exception:
                log.exception("operation.look_failed")
            await asyncio.sleep(LOOK_S)

    async def _take_over(self) -> None:
        now_ms = self._clock()
        while operation := await self._operations.claim_abandoned(self._owner, now_ms - ABANDONED_MS, now_ms):
            if operation.operation_id not in self._running:
                self._run_behind(operation)


def _is_search(request: BulkRequest) -> bool:
    return request.filter is not None and request.filter.q is not None
