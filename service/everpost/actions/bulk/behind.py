"""Runs operations in the background, step by step. After a crash, another process goes on with the next step."""

import asyncio
from contextlib import suppress

import structlog

from everpost.actions.bulk.request import BulkRequest, read_request
from everpost.actions.bulk.work import Work
from everpost.clock import Clock
from everpost.errors import ServiceError, Unavailable
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.operations import Operation, OperationLostError, OperationStatus

log = structlog.get_logger("everpost.bulk")

ABANDONED_MS = 30_000  # the process of an operation that has not advanced for this long has died
LOOK_S = 5.0
AGAIN_S = 1.0
LAST_STEP_S = 5.0  # when closing, the time for the running step


class WorkBehind:
    """Runs operations to their end. Each has one owner at a time, whatever the number of processes.

    Args:
        owner: The name of this process.
    """

    def __init__(self, store: Store, work: Work, clock: Clock, *, owner: str) -> None:
        self._operations = store.operations
        self._work = work
        self._clock = clock
        self._owner = owner
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        """Start taking over unfinished operations of other processes, now and every `LOOK_S`."""
        self._looking = asyncio.create_task(self._look_for_abandoned(), name="bulk")

    async def close(self) -> None:
        """Stop after the running step; another process, or the next start, continues."""
        self._is_closing = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,), timeout=LAST_STEP_S)
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=LAST_STEP_S)
            for task in late:
                task.cancel()
        with suppress(ServiceError):
            await self._operations.release(self._owner)

    def run(self, operation: Operation) -> None:
        """Continue an operation of this process."""
        task = asyncio.create_task(self._run_to_end(operation), name=f"bulk {operation.operation_id}")
        self._running[operation.operation_id] = task
        task.add_done_callback(lambda _: self._running.pop(operation.operation_id, None))

    async def _run_to_end(self, operation: Operation) -> None:
        request = read_request(operation.request)
        log.info("operation.began", operation_id=operation.operation_id, kind=operation.kind, total=operation.total)
        pace = self._work.pace()
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
            return await self._work.advance(operation, request, pace)
        except Unavailable as error:
            log.warning("operation.waits", operation_id=operation.operation_id, error=error.message)
            await asyncio.sleep(AGAIN_S)
            return operation

    async def _look_for_abandoned(self) -> None:
        while True:
            try:
                await self.take_over()
            except Unavailable as error:
                log.warning("operation.look_failed", error=error.message)
            except Exception:
                log.exception("operation.look_failed")
            await asyncio.sleep(LOOK_S)

    async def take_over(self) -> None:
        """Take over unfinished operations of other processes."""
        now_ms = self._clock()
        while operation := await self._operations.claim_abandoned(self._owner, now_ms - ABANDONED_MS, now_ms):
            if operation.operation_id not in self._running:
                self.run(operation)
