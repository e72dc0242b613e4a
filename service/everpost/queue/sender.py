"""Sending accepted tasks to Redis while their clients wait for an answer, and not for longer than that."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from everpost.errors import QueueUnreachable
from everpost.task.model import Task

PATIENCE_S = 0.04
MOST_AT_ONCE = 1_000
PORTION_BYTES = 16 * 1024 * 1024  # payloads of one call
MOST_HELD = 10_000  # tasks kept for a slow Redis; the relay brings the others
MOST_HELD_BYTES = 64 * 1024 * 1024  # and their payloads

Put = Callable[[Sequence[Task]], Awaitable[list[bool]]]


class ImpatientSender:
    """Puts tasks into Redis, and lets nobody wait longer than `PATIENCE_S` for that: they are in the ledger already.

    What takes longer goes on in the background, and what comes in meanwhile follows it. If Redis does not answer in the
    end, all of that is left to the relay.
    """

    def __init__(self, put: Put) -> None:
        """`put` is what sends that which had to wait; within a bounded time it ends, or raises `QueueUnreachable`."""
        self._put = put
        self._late: set[asyncio.Task[None]] = set()
        self._held: list[Task] = []
        self._held_bytes = 0

    async def send(self, tasks: Sequence[Task], put: Put) -> list[bool]:
        """Have `put` send them, which must end as the other one does; which of them are known to be in their queues."""
        not_known = [False] * len(tasks)
        if self._late:
            self._hold(tasks)
            return not_known
        sending = asyncio.create_task(_try(put, tasks))
        await asyncio.wait((sending,), timeout=PATIENCE_S)
        if sending.done():
            return sending.result() or not_known
        finishing = asyncio.create_task(self._finish(sending))
        self._late.add(finishing)
        finishing.add_done_callback(self._late.discard)
        return not_known

    async def drain(self) -> None:
        """Wait until nothing is on its way any more."""
        if self._late:
            await asyncio.wait(self._late)

    def _hold(self, tasks: Sequence[Task]) -> None:
        for task in tasks[: MOST_HELD - len(self._held)]:
            if self._held_bytes + len(task.task_data) > MOST_HELD_BYTES:
                return
            self._held.append(task)
            self._held_bytes += len(task.task_data)

    async def _finish(self, sending: "asyncio.Task[list[bool] | None]") -> None:
        answers = await sending
        while self._held and answers is not None:
            some, self._held = self._held[:MOST_AT_ONCE], self._held[MOST_AT_ONCE:]
            self._held_bytes -= sum(len(task.task_data) for task in some)
            answers = await _try(self._put, some)
        self._held.clear()
        self._held_bytes = 0


async def _try(put: Put, tasks: Sequence[Task]) -> list[bool] | None:
    try:
        return await put(tasks)
    except QueueUnreachable:
        return None


def portions(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """The tasks in parts that each reach Redis soon."""
    first = size_bytes = 0
    for number, task in enumerate(tasks):
        size_bytes += len(task.task_data)
        if size_bytes > PORTION_BYTES and number > first:
            yield tasks[first:number]
            first, size_bytes = number, len(task.task_data)
    yield tasks[first:]
