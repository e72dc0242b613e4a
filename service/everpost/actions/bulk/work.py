"""The steps of an operation: each changes some tasks and records the progress, in one transaction."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import structlog

from everpost.actions.bulk.pages import BEGINNING, Pages
from everpost.actions.bulk.request import BulkKind, BulkRequest
from everpost.actions.cancel import CancelStep
from everpost.actions.edit import EditStep, EditTools
from everpost.actions.remove import RemoveStep
from everpost.actions.resolve import ResolveStep
from everpost.actions.retry import RetryStep, RetryTools
from everpost.actions.step import Step
from everpost.actions.telling import telling
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.changes import Change, Outcome
from everpost.store.operations import Operation
from everpost.task.resolution_rules import UNSAID, DecisionKind, Grounds
from everpost.task.retry_plan import ChainRule
from everpost.task.retry_rules import decide_newest_retry, decide_retry, decide_send_again, decide_undo

log = structlog.get_logger("everpost.bulk")

CHUNK = 500  # the most tasks of one transaction; in the background, `Pace` decides on fewer
FORESEEN = 10_000  # tasks that a dry run checks one by one
SEARCH_BEHIND_S = 60.0  # the limit for finding a page while no client waits


class Work:
    """Carries out operations, step by step."""

    def __init__(self, store: Store, tools: RetryTools, edits: EditTools | None = None) -> None:
        self.pages = Pages(store)
        self._care = store.care
        self._operations = store.operations
        self._tools = tools
        self._edits = edits
        self._turn = asyncio.Lock()  # all background work takes turns, one step at a time
        self._search_behind = asyncio.Lock()  # leaves one connection for searches to waiting clients

    async def foresee(self, operation: Operation, request: BulkRequest) -> list[Outcome]:
        """What would happen to the first `FORESEEN` tasks; this changes nothing."""
        step = self._step(operation, request)
        outcomes: list[Outcome] = []
        # All at once, because each page of a search is a search of its own.
        task_ids, _ = await self.pages.page(request, BEGINNING, FORESEEN)
        while left := task_ids[len(outcomes) :]:
            outcomes += await step.foresee(await self.pages.fitting(left[:CHUNK]))
        return outcomes

    async def begin(
        self, operation: Operation, request: BulkRequest, *, at_once: bool
    ) -> tuple[Operation, list[Outcome]]:
        """Keep a new operation, and do its first step if `at_once`.

        If that step is refused, no operation is left, because it would be carried out later.
        """
        if not at_once:
            return await self._operations.advance(operation, None, (), BEGINNING, self._tools.clock(), is_new=True)
        task_ids, following = await self.pages.page_that_fits(request, BEGINNING, CHUNK)
        return await self._change(operation, request, task_ids, following, is_new=True)

    def pace(self) -> Pace:
        """The pace of an operation while no client waits."""
        return Pace(CHUNK, others=self._care.watch_others())

    async def advance(self, operation: Operation, request: BulkRequest, pace: Pace) -> Operation:
        """Do the next step while no client waits. After a crash before its transaction, the same step is repeated.

        Raises:
            OperationLostError: Another process has taken the operation over.
            Unavailable: This cannot be done now.
        """
        is_search = request.filter is not None and request.filter.q is not None
        async with self._search_behind if is_search else nullcontext():
            task_ids, following = await self.pages.page_that_fits(
                request, operation.position, pace.size, SEARCH_BEHIND_S
            )
        async with self._turn, pace.step():
            operation, _ = await self._change(operation, request, task_ids, following, pace=pace)
        return operation

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
        async def apply(change: Change, decided: Sequence[Outcome]) -> list[Outcome]:
            nonlocal operation
            async with telling(self._tools.queue.events, change) as told:
                operation, outcomes = await self._operations.advance(
                    operation, change, decided, following, self._tools.clock(), is_new=is_new, pace=pace
                )
                told.extend(outcomes)
            return outcomes

        outcomes = await self._step(operation, request).run(task_ids, apply)
        if self._tools.callbacks is not None:
            await self._tools.callbacks.after(outcomes)
        new_tasks = [outcome.new_task for outcome in outcomes if outcome.new_task is not None]
        if new_tasks:  # if a crash prevents this, the relay does it
            await self._tools.acceptance.enqueue_tasks(new_tasks)
            log.debug("tasks.recovered", batch_id=operation.operation_id, tasks=len(new_tasks))
        return operation, outcomes

    def _step(self, operation: Operation, request: BulkRequest) -> Step:
        tools = self._tools
        match request.kind:
            case BulkKind.DELETE:
                return RemoveStep(tools.changes, Reason.DELETED)
            case BulkKind.ARCHIVE:
                return RemoveStep(tools.changes, Reason.AGE)
            case BulkKind.CANCEL:
                return CancelStep(tools.changes, tools.queue, force=request.force)
            case BulkKind.EDIT:
                assert self._edits is not None, "a bulk edit is given the parts for edits"
                assert request.data is not None, "an edit has a patch"
                token = f"{operation.operation_id} {operation.position}"  # of this step, also after a crash
                grounds = Grounds(request.by, request.why)
                return EditStep(self._edits, request.data, grounds=grounds, token=token)
            case BulkKind.UNDO | BulkKind.RESOLVE | BulkKind.RETRY:
                return self._new_tasks_step(operation, request)

    def _new_tasks_step(self, operation: Operation, request: BulkRequest) -> Step:
        """The step of work that makes new tasks, or may."""
        tools, grounds = self._tools, UNSAID
        if request.kind is BulkKind.RESOLVE:
            grounds = Grounds(request.by, request.why)
            if request.decision is DecisionKind.SUCCEEDED:
                return ResolveStep(tools.changes, grounds, tools.clock)
        are_named = request.filter is None and request.batch_id is None
        rules: dict[BulkKind, ChainRule] = {
            BulkKind.UNDO: decide_undo,
            BulkKind.RESOLVE: decide_send_again,
            BulkKind.RETRY: partial(decide_retry if are_named else decide_newest_retry, force=request.force),
        }
        return RetryStep(
            tools,
            rules[request.kind],
            grounds=grounds,
            batch_id=request.batch_id or operation.operation_id,
            edit=tools.edit_of(request.data),
        )
