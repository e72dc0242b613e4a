"""Waits for tasks to end: the feed of events tells of most ends at once, and the ledger of all."""

import asyncio
from collections.abc import Iterable

import structlog

from everpost.errors import ServiceError
from everpost.store.ledger import Ledger
from everpost.views.events.feed import Feed

log = structlog.get_logger("everpost.api")

POLL_S = 0.05  # while the feed does not tell of ends
LIVE_POLL_S = 1.0  # in case that an end was not told


class EndWaiter:
    """Knows who waits for which task.

    While Redis is away, it looks every `POLL_S` seconds which awaited tasks have left the ledger, with one query for
    all callers.
    """

    def __init__(self, ledger: Ledger, feed: Feed) -> None:
        self._ledger = ledger
        self._feed = feed
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._new: set[str] = set()  # tasks that may have ended before the feed was listened to
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False
        feed.listen(self)

    async def wait_for_end(self, task_id: str, timeout_s: float) -> bool:
        """Return True when the task seems to have ended, False after `timeout_s` seconds or when the service stops.

        The ledger may have a task of which the feed told: then Redis had only lost its job.
        """
        if self._is_closed:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(task_id, set()).add(waiter)
        self._new.add(task_id)
        self._feed.start()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            done, _ = await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._forget(task_id, waiter)
        return bool(done) and not self._is_closed

    def has_waiters(self) -> bool:
        """Whether a caller waits."""
        return bool(self._waiters)

    def on_ends(self, task_ids: Iterable[str]) -> None:
        """Let the callers return that wait for these tasks: they have ended, if the ledger no longer has them."""
        for task_id in self._waiters.keys() & set(task_ids):
            self._announce(task_id)

    def release(self) -> None:
        """Let all callers return now, and later callers at once, because the service stops."""
        self._is_closed = True
        for task_id in list(self._waiters):
            self._announce(task_id)

    async def close(self) -> None:
        """Release all callers, and stop looking."""
        self.release()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    def _forget(self, task_id: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(task_id, set())
        waiters.discard(waiter)
        if not waiters:
            self._waiters.pop(task_id, None)

    def _announce(self, task_id: str) -> None:
        for waiter in self._waiters.pop(task_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def _look(self) -> None:
        looked_at_s = asyncio.get_running_loop().time()
        try:
            while self._waiters:
                await asyncio.sleep(POLL_S)
                now_s = asyncio.get_running_loop().time()
                if self._new or not self._feed.is_live or now_s - looked_at_s >= LIVE_POLL_S:
                    looked_at_s = now_s
                    await self._announce_ends()
        finally:
            self._looking = None

    async def _announce_ends(self) -> None:
        awaited = list(self._waiters)
        if self._feed.is_live:  # what is not live yet may end untold until it is
            self._new.clear()
        try:
            unfinished = (await self._ledger.check_claims(dict.fromkeys(awaited))).known
        except ServiceError as error:
            log.warning("wait.interrupted", error=error.message)
            return
        for task_id in awaited:
            if task_id not in unfinished:
                self._announce(task_id)
