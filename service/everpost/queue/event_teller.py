"""Tells readers of events what happens to tasks; docs/events.md. `event_log.py` reads what is told."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from everpost.errors import QueueUnreachable
from everpost.queue.keys import EVENTS
from everpost.queue.redis_server import RedisServer

MOST_AT_ONCE = 1_000  # tasks in one call
OWED_MS = 10_000  # after this time the process that owed has died
MOST_OWED = 500  # in one call


class Told(StrEnum):
    """What can happen to a task. The worker's engine writes ENDED and DEFERRED too (release.lua)."""

    ACCEPTED = "accepted"
    STARTED = "started"
    PROGRESS = "progress"
    ENDED = "ended"
    DEFERRED = "deferred"  # an attempt failed, and the next one is due later
    EDITED = "edited"
    RESOLVED = "resolved"
    REMOVED = "removed"
    BROUGHT_BACK = "brought_back"
    LOST = "lost"  # only owed: what happened to which task cannot be told


async def _no_debt() -> None:
    """Forget it: nothing durable is known of this process."""


class EventTeller:
    """Tells of tasks. While no reader wants events, nothing is written.

    Attributes:
        note_debt: Called if Redis is away when something is about to happen that must be told. It notes durably that
            readers have missed something; the leader's upkeep then calls `break_off`.
    """

    def __init__(self, server: RedisServer) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._tell = server.script("tell", "telling")
        self._owe = server.script("owe")
        self._forget = server.script("forget_owed")
        self._tell_owed = server.script("tell_owed", "telling")
        self.note_debt: Callable[[], Awaitable[None]] = _no_debt

    async def tell(self, kind: Told, task_ids: Sequence[str], *, was_owed: bool = False) -> None:
        """Tell what has happened to tasks.

        Raises:
            QueueUnreachable: Redis is away; some of it may be told.
        """
        for start in range(0, len(task_ids), MOST_AT_ONCE):
            some = task_ids[start : start + MOST_AT_ONCE]
            await self._ask(self._tell(keys=[], args=[kind, "1" if was_owed else "", "", *some]))

    @asynccontextmanager
    async def telling(
        self, kind: Told, task_ids: Sequence[str], *, owed_as: Told | None = None
    ) -> AsyncIterator[list[str]]:
        """Tell what happens to tasks in this context, even if this process dies meanwhile.

        The caller adds the ids of those to which it has happened. If the context raises, it is unknown to which: then
        all are told, some seconds later.

        Args:
            owed_as: LOST if `task_ids` are not the ids of tasks: then a death becomes a `reset` for all readers.
        """
        is_owed = False
        owed_as = owed_as or kind
        try:
            is_owed = await self._note(owed_as, task_ids)
        except QueueUnreachable:
            await self.note_debt()
        done: list[str] = []
        yield done
        if is_owed:
            with suppress(QueueUnreachable):  # then it stays owed
                await self.tell(kind, done, was_owed=owed_as is kind)
                await self._forget_all(owed_as, sorted(set(task_ids).difference(done)))

    async def tell_owed(self) -> int:
        """Tell what processes owed when they died; returns of how many tasks.

        Raises:
            QueueUnreachable: Redis is away.
        """
        told = 0
        while count := int(await self._ask(self._tell_owed(keys=[], args=[OWED_MS, MOST_OWED]))):
            told += count
        return told

    async def break_off(self) -> None:
        """Let all readers know that they have missed something.

        Raises:
            QueueUnreachable: Redis is away.
        """
        await self._ask(self._redis.unlink(EVENTS, f"{EVENTS}:state"))

    async def _note(self, kind: Told, task_ids: Sequence[str]) -> bool:
        is_owed = False
        for start in range(0, len(task_ids), MOST_AT_ONCE):
            some = task_ids[start : start + MOST_AT_ONCE]
            is_owed = bool(await self._ask(self._owe(keys=[], args=[kind, *some])))
        return is_owed

    async def _forget_all(self, kind: Told, task_ids: Sequence[str]) -> None:
        for start in range(0, len(task_ids), MOST_AT_ONCE):
            some = task_ids[start : start + MOST_AT_ONCE]
            await self._ask(self._forget(keys=[], args=[kind, *some]))
