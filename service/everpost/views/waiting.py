"""Waits for tasks to end, with one query at a time for all waiting callers."""

import asyncio

import structlog

from everpost.errors import ServiceError
from everpost.store.ledger import Ledger

log = structlog.get_logger("everpost.api")

POLL_S = 0.05


class EndWaiter:
    """Checks every `POLL_S` seconds which awaited tasks have left the ledger, while a caller waits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    async def wait_for_end(self, task_id: str, timeout_s: float) -> None:
        """Return when the task is no longer in the ledger, after `timeout_s` seconds, or when the service stops."""
        if self._is_closed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(task_id, set()).add(waiter)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._forget(task_id, waiter)

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
        try:
            while self._waiters:
                await asyncio.sleep(POLL_S)
                await self._announce_ends()
        finally:
            self._looking = None

    async def _announce_ends(self) -> None:
        awaited = list(self._waiters)
        try:
            unfinished = (await self._ledger.check_claims(dict.fromkeys(awaited))).known
        except ServiceError as error:
            log.warning("wait.interrupted", error=error.message)
            return
        for task_id in awaited:
            if task_id not in unfinished:
                self._announce(task_id)
