"""The store's tasks, combined with what only Redis knows: whether a worker holds one, and its place in the queue."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from everpost.clock import to_text
from everpost.errors import QueueUnreachable, TaskNotFound
from everpost.queue.gates import NOTHING_KNOWN, Gates, Looked, Whereabouts
from everpost.queue.jobs import Jobs
from everpost.queue.progress import Progress, ProgressNotes
from everpost.store import history
from everpost.store.history import History, Summary, TaskFilter
from everpost.store.limits import Limits
from everpost.task.holds import Hold, WaitsFor, holds_of
from everpost.task.model import DEFAULT_PRIORITY, ENDED, UNFINISHED, WAITING
from everpost.task.place import Place
from everpost.views.hiding import Hiding
from everpost.views.shown_tasks import IdMatch, TaskDetail, TaskRow, detail_view, id_view, row_view
from everpost.views.waiting import EndWaiter

ALL_TASKS = TaskFilter()
LARGE_BYTES = 65_536


class ShownTask(msgspec.Struct, frozen=True):
    """A task, and how many jobs of its queue, or of its account if it waits for a limit, go before it."""

    task: TaskDetail
    queue_position: int | None


class ShownPage(msgspec.Struct, frozen=True):
    """Some tasks, newest first. If the total is not exact, at least so many match. `lag_s`: see `history.Page`."""

    rows: Sequence[TaskRow]
    total: int
    total_is_exact: bool
    next_cursor: str | None
    lag_s: float | None


class TaskViews:
    """Looks tasks up. While Redis is away, tasks are shown as the store has them."""

    def __init__(
        self,
        tasks: History,
        jobs: Jobs,
        progress: ProgressNotes,
        waiter: EndWaiter,
        gates: Gates,
        limits: Limits,
        hiding: Hiding | None = None,
    ) -> None:
        self._history = tasks
        self._jobs = jobs
        self._progress = progress
        self._waiter = waiter
        self._gates = gates
        self._limits = limits
        self._hiding = hiding or Hiding()

    async def show(self, task_id: str, wait_s: float = 0) -> ShownTask:
        """One task, at once or when it has ended, but after `wait_s` seconds at the latest.

        Raises:
            TaskNotFound: The store does not have it.
        """
        task = await self._find(task_id)
        until_s = time.monotonic() + wait_s
        while task.place is Place.LEDGER and not task.inherited and (left_s := until_s - time.monotonic()) > 0:
            is_told = await self._waiter.wait_for_end(task_id, left_s)
            task = await self._find(task_id)
            if not is_told:
                break
        if task.place is not Place.LEDGER:
            return ShownTask(detail_view(await self._hidden(task)), None)
        looked = await self._look([task])
        is_running = task_id in looked.running
        progress = await self._progress_of(task_id) if is_running else None
        waits = await self._waits(looked)
        hidden = await self._hidden(task)
        shown = detail_view(hidden, is_running=is_running, progress=progress, waits_for=waits.get(task_id))
        return ShownTask(shown, None if is_running else await self._position(task, looked))

    async def page(self, wanted: TaskFilter, cursor: str | None, limit: int) -> ShownPage:
        """Tasks that match, and how many there are; errors as in `History.page`."""
        page = await self._history.page(wanted, cursor, limit, counted=True)
        assert page.total is not None, "it is counted"
        looked = await self._look(page.items)
        waits = await self._waits(looked)
        rows = [
            row_view(self._hiding.row(row), is_running=row.task_id in looked.running, waits_for=waits.get(row.task_id))
            for row in page.items
        ]
        return ShownPage(rows, page.total.total, page.total.total_is_exact, page.next_cursor, page.lag_s)

    async def recent_ends(self, limit: int, wanted: TaskFilter = ALL_TASKS) -> tuple[list[TaskRow], float | None]:
        """The tasks that ended last, the latest first, and by how many seconds they may be old; see `Page.lag_s`."""
        filters = [msgspec.structs.replace(wanted, status=status) for status in sorted(ENDED)]
        pages = await asyncio.gather(*(self._history.page(one, None, limit) for one in filters))
        rows = sorted((row for page in pages for row in page.items), key=_ended_at, reverse=True)
        lag_s = max((page.lag_s for page in pages if page.lag_s is not None), default=None)
        return [row_view(self._hiding.row(row)) for row in rows[:limit]], lag_s

    async def find_ids(self, prefix: str, limit: int) -> list[IdMatch]:
        """The tasks whose ids begin with `prefix`, in all places, at most `limit`."""
        return [id_view(self._hiding.match(match)) for match in await self._history.find_ids(prefix, limit)]

    async def _hidden(self, task: history.TaskDetail) -> history.TaskDetail:
        """The task without hidden members. A megabyte of them takes a quarter of a second, so a thread does that."""
        if sum(len(bytes(value)) for value in (task.task_data or {}).values()) < LARGE_BYTES:
            return self._hiding.detail(task)
        return await asyncio.to_thread(self._hiding.detail, task)

    async def _find(self, task_id: str) -> history.TaskDetail:
        task = await self._history.find_task(task_id)
        if task is None:
            raise TaskNotFound(task_id)
        return task

    async def _look(self, tasks: Sequence[history.TaskRow | history.TaskDetail]) -> Looked:
        unfinished = [task.task_id for task in tasks if task.place is Place.LEDGER and task.status in UNFINISHED]
        try:
            return await self._gates.find(unfinished)
        except QueueUnreachable:
            return NOTHING_KNOWN

    async def _waits(self, looked: Looked) -> Mapping[str, WaitsFor]:
        """What the parked tasks wait for, with the reasons of holds: one statement for all of them."""
        if not looked.parked:
            return {}
        holds = holds_of(await self._limits.find_states({where.scope for where in looked.parked.values()}))
        return {task_id: _waits_for(where, holds.get(where.scope)) for task_id, where in looked.parked.items()}

    async def _progress_of(self, task_id: str) -> Progress | None:
        try:
            return await self._progress.of_task(task_id)
        except QueueUnreachable:
            return None

    async def _position(self, task: history.TaskDetail, looked: Looked) -> int | None:
        """How many jobs go before it."""
        if (where := looked.parked.get(task.task_id)) is not None:
            return where.position
        if task.place is not Place.LEDGER or task.status not in WAITING:
            return None
        priority = DEFAULT_PRIORITY if task.priority is None else task.priority
        try:
            return await self._jobs.queue_position(task.task_id, priority)
        except QueueUnreachable:
            return None


def _waits_for(where: Whereabouts, hold: Hold | None) -> WaitsFor:
    if hold is not None:
        return WaitsFor(kind=hold.kind, scope=where.scope, reason=hold.reason)
    until = None if where.until_ms is None else to_text(where.until_ms)
    return WaitsFor(kind=where.kind, scope=where.scope, until=until)


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of tasks by status; `running` are those whose start is recorded in the ledger."""

    pending: int = 0
    scheduled: int = 0
    running: int = 0
    success: int = 0
    failed: int = 0
    cancelled: int = 0
    retry: int = 0
    unknown: int = 0
    total: int = 0


def status_counts(summary: Summary) -> StatusCounts:
    """The counts in the original's form; other statuses of an original file are only in `total`."""
    known = {name: summary.by_status.get(name, 0) for name in StatusCounts.__struct_fields__ if name != "total"}
    return StatusCounts(**known, total=summary.total)


def _ended_at(row: history.TaskRow) -> str:
    return row.completed_at or row.updated_at or row.created_at or ""


def of_platforms(summary: Summary, platforms: frozenset[str] | None) -> Summary:
    """The part of a summary that is about some platforms. Tasks are not counted by account."""
    kept = {name: counts for name, counts in summary.by_platform_and_status.items() if name in (platforms or ())}
    by_platform = {name: sum(counts.values()) for name, counts in kept.items()}
    by_status: dict[str, int] = {}
    for counts in kept.values():
        for status, tasks in counts.items():
            by_status[status] = by_status.get(status, 0) + tasks
    return Summary(sum(by_platform.values()), by_status, by_platform, kept)
