"""Accepts tasks: writes them to the ledger, then queues them; only then is the client answered (I2)."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import structlog

from everpost.clock import Clock
from everpost.errors import BacklogFull, DuplicatePost, ServiceError, UnknownFile
from everpost.metrics import ACCEPTED, Tally
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.batches import Accepted, Posted, Posting
from everpost.store.disk_room import DiskRoom
from everpost.store.files import UnknownFileError
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.traces import TaskTrace
from everpost.task.duplicate_rules import Guard, guard_of
from everpost.task.model import Task
from everpost.task.submission import Submission

if TYPE_CHECKING:  # it loads OpenTelemetry
    from everpost.tracing.spans import Tracing

log = structlog.get_logger("everpost.intake")

Written = TypeVar("Written")

BACKLOG_REFRESH_S = 1.0
MOST_UNWRITTEN = 4_096  # eight commits; if the file is locked, even the last of them can be refused within 2 s
MOST_UNWRITTEN_BYTES = 64 << 20  # of payloads; a waiting payload is in memory several times


class Acceptance:
    """Accepts tasks.

    Args:
        accepted_by: The name this process writes into the ledger.
        tally: Counts accepted tasks.
        room: The room on the ledger's disk.
        max_backlog: Unfinished tasks at which new ones are refused; 0 is no limit.
        tracing: Keeps the trace contexts of new tasks; None keeps none.
    """

    def __init__(
        self,
        store: Store,
        queue: TaskQueue,
        clock: Clock,
        *,
        accepted_by: str,
        tally: Tally,
        room: DiskRoom,
        max_backlog: int = 0,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._ledger = store.ledger
        self._batches = store.batches
        self._care = store.care
        self._traces = store.traces
        self.tracing = tracing
        self._queue = queue
        self._clock = clock
        self._tally = tally
        self.room = room
        self._max_backlog = max_backlog
        self._backlog = 0
        self._backlog_until = 0.0
        self._unwritten_bytes = 0
        self.accepted_by = accepted_by

    async def publish_task(self, submission: Submission) -> Task:
        """Accept one task.

        Raises:
            BacklogFull: Too many tasks are waiting.
            DiskFull: The disk has too little room.
            Unavailable: The database cannot be written; nothing was accepted.
        """
        await self.check_room()
        now_ms = self._clock()
        task = submission.task(now_ms, self.accepted_by)
        await self._write([task], self._ledger.accept([task], now_ms))
        await self.enqueue_tasks([task])
        return task

    async def publish_tasks(self, submissions: Sequence[Submission], batch_id: str) -> list[Task]:
        """Accept many tasks in one transaction, as one batch. Raises the errors of `publish_task`."""
        await self.check_room(len(submissions))
        now_ms = self._clock()
        tasks = [submission.task(now_ms, self.accepted_by, batch_id) for submission in submissions]
        await self._write(tasks, self._ledger.accept(tasks, now_ms))
        await self.enqueue_tasks(tasks)
        return tasks

    async def publish_once(
        self,
        submissions: Sequence[Submission],
        key: IdempotencyKey,
        answer_of: Callable[[list[Task]], FirstAnswer],
        batch_id: str | None = None,
    ) -> FirstAnswer:
        """Accept tasks and keep the answer; if the key has an answer already, accept nothing and return that one.

        Raises:
            KeyReused: The key was used for another request. Also raises the errors of `publish_task`.
        """
        await self.check_room(len(submissions))
        now_ms = self._clock()
        tasks = [submission.task(now_ms, self.accepted_by, batch_id) for submission in submissions]
        answer = answer_of(tasks)
        earlier = await self._write(tasks, self._ledger.accept(tasks, now_ms, Once(key, answer)))
        if earlier is not None:
            return earlier
        await self.enqueue_tasks(tasks)
        return answer

    async def publish_unless_duplicate(
        self,
        submission: Submission,
        answer_of: Callable[[list[Task]], FirstAnswer],
        key: IdempotencyKey | None = None,
    ) -> FirstAnswer:
        """Accept one task of a platform with a duplicate guard; the answer to the client.

        Raises:
            DuplicatePost: The same content was posted to the same account a short time ago.
            KeyReused: The key was used for another request. Also raises the errors of `publish_task`.
        """
        now_ms = self._clock()
        task = submission.task(now_ms, self.accepted_by)
        posted = Posted(answer=answer_of([task]))
        guards = guards_of([submission], [task], now_ms)
        accepted = await self.publish_posting(Posting(tasks=[task], rule=lambda _: posted, guards=guards, key=key))
        if accepted.duplicates:
            raise DuplicatePost(accepted.duplicates[task.task_id])
        return accepted.answer

    async def check_duplicates(self, submission: Submission) -> None:
        """Refuse a task as `publish_unless_duplicate` would refuse it now; this writes nothing.

        Raises:
            DuplicatePost: The same content was posted to the same account a short time ago.
        """
        guard = guard_of(submission, self._clock())
        if guard is not None:
            for earlier in (await self._batches.find_duplicates({"": guard})).values():
                raise DuplicatePost(earlier)

    async def publish_posting(self, posting: Posting) -> Accepted:
        """Accept tasks together with what belongs to them.

        Raises:
            KeyReused: The key was used for another request. Also raises the errors of `publish_task`.
        """
        await self.check_room(len(posting.tasks))
        accepted = await self._write(posting.tasks, self._batches.accept(posting, self._clock()))
        if accepted.tasks:
            await self.enqueue_tasks(accepted.tasks)
        return accepted

    async def _write(self, tasks: Sequence[Task], write: Awaitable[Written]) -> Written:
        size_bytes = sum(len(task.task_data) for task in tasks)
        self._unwritten_bytes += size_bytes
        try:
            return await write
        except UnknownFileError as error:  # it was deleted since it was looked up
            raise UnknownFile(error.file_id) from error
        finally:
            self._unwritten_bytes -= size_bytes

    async def enqueue_tasks(self, tasks: Sequence[Task]) -> None:
        """Queue tasks of the ledger. The relay queues later what Redis does not take now."""
        self.count_accepted(tasks)
        if self.tracing is not None:
            await self.keep_traces(tasks)
        if len(tasks) == 1:
            queued = [await self._queue.enqueuer.enqueue_task(tasks[0])]
        else:
            queued = await self._queue.enqueuer.enqueue_tasks(tasks)
        if not all(queued):
            log.debug("task.waits_for_redis", task_id=tasks[0].task_id, tasks=queued.count(False))

    async def keep_traces(self, tasks: Sequence[Task]) -> None:
        """Keep the context of the running span with tasks that it made, before a worker can claim them."""
        context = None if self.tracing is None else self.tracing.current()
        try:
            retried = [task.retry_of for task in tasks if task.retry_of is not None]
            origins = await self._traces.find(retried) if retried else {}
            traces = {task.task_id: TaskTrace(context, _context_of(origins.get(task.retry_of or ""))) for task in tasks}
            await self._traces.keep({task_id: one for task_id, one in traces.items() if one.context or one.origin})
        except ServiceError as error:  # the tasks are accepted anyway
            log.warning("traces.not_kept", tasks=len(tasks), error=error.message)

    def count_accepted(self, tasks: Sequence[Task]) -> None:
        """Count newly accepted tasks."""
        for platform, equal in groupby([task.platform for task in tasks]):
            self._tally.count(ACCEPTED, platform, times=len(list(equal)))

    async def check_room(self, more: int = 1) -> None:
        """Refuse `more` tasks if too many tasks wait to run or to be written, or if the disk fills up.

        The number of waiting tasks is at most `BACKLOG_REFRESH_S` old.

        Raises:
            BacklogFull: There would be more than `max_backlog` tasks, or too many writes or bytes wait in memory.
            DiskFull: The disk has too little room.
        """
        self.room.check()
        if self._care.state().waiting_writes >= MOST_UNWRITTEN:
            raise BacklogFull(f"{MOST_UNWRITTEN} tasks wait to be written")
        if self._unwritten_bytes >= MOST_UNWRITTEN_BYTES:
            raise BacklogFull(f"{MOST_UNWRITTEN_BYTES >> 20} MB of tasks wait to be written")
        if not self._max_backlog:
            return
        if time.monotonic() >= self._backlog_until:
            self._backlog_until = time.monotonic() + BACKLOG_REFRESH_S
            self._backlog = await self._ledger.count_unfinished()
        self._backlog += more
        if self._backlog > self._max_backlog:
            self._backlog -= more
            raise BacklogFull(f"{self._max_backlog} tasks are waiting")


def _context_of(trace: TaskTrace | None) -> str | None:
    return None if trace is None else trace.context


def guards_of(submissions: Sequence[Submission], tasks: Sequence[Task], now_ms: int) -> dict[str, Guard]:
    """The guards of the tasks made from these submissions, for those that have one."""
    guards = {task.task_id: guard_of(submission, now_ms) for submission, task in zip(submissions, tasks, strict=True)}
    return {task_id: guard for task_id, guard in guards.items() if guard is not None}
