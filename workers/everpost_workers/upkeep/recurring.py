"""Makes the tasks of recurring posts, shortly before they are due."""

from collections.abc import Callable

import structlog
from msgspec.structs import replace

from everpost.clock import Clock, to_text, to_text_or_none
from everpost.errors import InvalidValue
from everpost.failpoints import failpoint
from everpost.platforms import Catalogue
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.account_zones import AccountZones
from everpost.store.ledger import TaskExistsError
from everpost.task.duplicate_rules import Guard, guard_of_data
from everpost.task.model import Task
from everpost.task.recurrence import (
    AHEAD_MS,
    Occurrence,
    Recurrence,
    RecurrenceStatus,
    decide_occurrence,
    task_of_occurrence,
)
from everpost.task.submission import decoded_data

log = structlog.get_logger("everpost.recurring")

CHUNK = 100
RECURRING_S = 2.0  # between two turns; much less than `AHEAD_MS`


class RecurringPosts:
    """The leader's duty. Several workers may do it at once: an occurrence is one task.

    Args:
        worker_id: The name this worker writes into the ledger.
        count: Counts an accepted task of a platform.
    """

    def __init__(
        self,
        store: Store,
        queue: TaskQueue,
        catalogue: Catalogue,
        zones: AccountZones,
        clock: Clock,
        *,
        worker_id: str,
        count: Callable[[str], None],
    ) -> None:
        self._recurring = store.recurring
        self._queue = queue
        self._catalogue = catalogue
        self._zones = zones
        self._clock = clock
        self._worker_id = worker_id
        self._count = count

    async def tick(self) -> int:
        """Make the tasks of all occurrences that are near or past; how many were made."""
        made = 0
        while due := await self._recurring.due(self._clock() + AHEAD_MS, CHUNK):
            changed = [await self._make(recurrence) for recurrence in due]
            made += sum(changed)
            if not any(changed):  # another worker makes them
                break
        return made

    async def _make(self, recurrence: Recurrence) -> bool:
        """Make the next occurrence; False if another process has changed the recurring post."""
        now_ms = self._clock()
        try:
            zone = await self._zones.of_recurrence(recurrence)
            platform = self._catalogue.find(recurrence.platform)
            occurrence = decide_occurrence(recurrence, zone, now_ms)
        except InvalidValue as error:
            return await self._pause(recurrence, error.message, now_ms)
        if occurrence is None:
            return False
        task = task_of_occurrence(
            recurrence,
            occurrence.time_ms,
            zone,
            late_after_s=platform.late_after_s,
            now_ms=now_ms,
            accepted_by=self._worker_id,
            callback_options=self._catalogue.callback_options,
        )
        guard = guard_of_data(platform, decoded_data(task.task_data), occurrence.time_ms)
        return await self._keep(recurrence, occurrence, task, now_ms, guard)

    async def _keep(
        self, before: Recurrence, occurrence: Occurrence, task: Task, now_ms: int, guard: Guard | None
    ) -> bool:
        after = replace(
            before,
            status=RecurrenceStatus.ENDED if occurrence.next_ms is None else before.status,
            next_at=to_text_or_none(occurrence.next_ms),
            last_at=to_text(occurrence.time_ms),
            last_task_id=task.task_id,
            made=before.made + 1,
            missed=before.missed + occurrence.missed,
            updated_at=to_text(now_ms),
        )
        failpoint("recurring.before")
        try:
            is_made = await self._recurring.change(before, after, task, now_ms, guard)
        except TaskExistsError:
            log.warning("recurring.task_exists", recurrence_id=before.recurrence_id, task_id=task.task_id)
            return await self._recurring.change(before, after, None, now_ms)
        failpoint("recurring.after")
        if is_made:
            self._count(task.platform)
            await self._queue.enqueuer.enqueue_task(task)  # else the relay does
            log.info(
                "recurring.made",
                recurrence_id=before.recurrence_id,
                task_id=task.task_id,
                due_at=after.last_at,
                missed=occurrence.missed,
            )
        return is_made

    async def _pause(self, before: Recurrence, reason: str, now_ms: int) -> bool:
        log.error("recurring.paused", recurrence_id=before.recurrence_id, reason=reason)
        after = replace(
            before,
            status=RecurrenceStatus.PAUSED,
            reason=reason,
            version=before.version + 1,
            next_at=None,
            updated_at=to_text(now_ms),
        )
        return await self._recurring.change(before, after, None, now_ms)
