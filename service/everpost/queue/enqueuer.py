"""Puts accepted tasks into their queues. Clients wait for it, but not for long."""

import asyncio
from collections.abc import Sequence
from typing import Any

from everpost.batcher import Batcher
from everpost.clock import Clock
from everpost.errors import QueueUnreachable
from everpost.failpoints import failpoint
from everpost.portions import portions
from everpost.queue.codec import job_of
from everpost.queue.keys import QUEUE_NAMES, WAKE_CHANNEL, WITHDRAWALS_KEY, queue_name
from everpost.queue.redis_server import RedisServer
from everpost.task.model import Task
from everpost.time_limit import ends_within

PATIENCE_S = 0.04
MOST_TOGETHER = 256  # tasks of concurrent callers in one call
MOST_AT_ONCE = 1_000
PORTION_BYTES = 16 * 1024 * 1024  # payloads in one call
MOST_HELD = 10_000  # tasks held for a slow Redis; the relay brings further ones
MOST_HELD_BYTES = 64 * 1024 * 1024  # the limit of their payloads


class Enqueuer:
    """Puts tasks into their queues. Repeating this changes nothing.

    The ledger already has the tasks, so `enqueue_*` never raise, and wait for `PATIENCE_S` at most. A slower call
    continues in the background, and tasks that arrive meanwhile are sent after it. If Redis never answers, the relay
    brings them all.
    """

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._script = server.script_on_own_connection("enqueue", "telling")
        self._requeue = server.script("requeue")
        self._together: Batcher[Task, bool] = Batcher(self.enqueue_tasks, max_items=MOST_TOGETHER)
        self._late: set[asyncio.Task[None]] = set()
        self._held: list[Task] = []
        self._held_bytes = 0

    async def enqueue_task(self, task: Task) -> bool:
        """Put a task into its queue, together with those of concurrent callers; False as in `enqueue_tasks`."""
        return await self._together.put(task)

    def enqueue_soon(self, task: Task) -> None:
        """Like `enqueue_task`, without waiting."""
        self._together.put(task)

    async def enqueue_tasks(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks into their queues; False for each that is not known to be there when this returns."""
        queued: list[bool] | None = None
        if not self._server.is_away:
            failpoint("enqueue.before")
            queued = await self._send_or_hold(tasks)
            failpoint("enqueue.after")
        return queued or [False] * len(tasks)

    async def restore_tasks(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks into their queues, however long it takes; False for each that was withdrawn or has ended.

        Raises:
            QueueUnreachable: Redis is unreachable; some of the tasks may be in their queues.
        """
        queued: list[bool] = []
        for portion in portions(tasks, PORTION_BYTES, _size_of):
            now_ms = self._clock()
            arguments: list[Any] = [now_ms]
            for task in portion:
                arguments += (task.task_id, queue_name(task.priority), task.due_at_ms or "", job_of(task, now_ms))
            answers: list[int] = await self._server.ask(self._script.run([WAKE_CHANNEL], arguments))
            queued += [answer == 1 for answer in answers]
        return queued

    async def requeue_tasks(self, tasks: Sequence[Task], token: str) -> list[bool]:
        """Put tasks back that `Jobs.take_out` took out with the same token, as they are in the ledger now.

        False for each that is not known to be in its queue. If Redis does not answer, the relay queues it, after
        `WITHDRAWN_S` at the latest.
        """
        failpoint("requeue.before")
        queued: list[bool] = []
        for portion in portions(tasks, PORTION_BYTES, _size_of):
            now_ms = self._clock()
            arguments: list[Any] = [now_ms, token]
            for task in portion:
                arguments += (task.task_id, queue_name(task.priority), task.due_at_ms or "", job_of(task, now_ms))
            keys = [WAKE_CHANNEL, WITHDRAWALS_KEY, *QUEUE_NAMES]
            try:
                answers: list[int] = await self._server.ask(self._requeue(keys=keys, args=arguments))
            except QueueUnreachable:
                answers = [0] * len(portion)
            queued += [answer == 1 for answer in answers]
        failpoint("requeue.after")
        return queued

    async def drain(self) -> None:
        """Wait until all tasks have been sent."""
        await self._together.drain()
        if self._late:
            await asyncio.wait(self._late)

    async def _send_or_hold(self, tasks: Sequence[Task]) -> list[bool] | None:
        """The answers, if Redis gives them within `PATIENCE_S`."""
        if self._late:
            self._hold(tasks)
            return None
        sending = asyncio.create_task(self._try_to_send(tasks))
        if await ends_within(sending, PATIENCE_S):
            return sending.result()
        waiting = asyncio.create_task(self._wait_for_late(sending))
        self._late.add(waiting)
        waiting.add_done_callback(self._late.discard)
        return None

    def _hold(self, tasks: Sequence[Task]) -> None:
        for task in tasks[: MOST_HELD - len(self._held)]:
            if self._held_bytes + _size_of(task) > MOST_HELD_BYTES:
                return
            self._held.append(task)
            self._held_bytes += _size_of(task)

    async def _wait_for_late(self, sending: "asyncio.Task[list[bool] | None]") -> None:
        answers = await sending
        while self._held and answers is not None:
            some, self._held = self._held[:MOST_AT_ONCE], self._held[MOST_AT_ONCE:]
            self._held_bytes -= sum(map(_size_of, some))
            answers = await self._try_to_send(some)
        self._held.clear()
        self._held_bytes = 0

    async def _try_to_send(self, tasks: Sequence[Task]) -> list[bool] | None:
        try:
            return await self.restore_tasks(tasks)
        except QueueUnreachable:
            return None


def _size_of(task: Task) -> int:
    return len(task.task_data)
