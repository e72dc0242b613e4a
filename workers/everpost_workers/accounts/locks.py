"""The lock of an account: at most one attempt of the whole fleet rotates its tokens."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from everpost.clock import Clock
from everpost.errors import ServiceError, Unavailable
from everpost.publishing import InvalidError
from everpost.store import Store
from everpost.task.account_rules import AccountRecord, is_free, locked, unlocked, with_tokens
from everpost_workers.engine import Backoff

log = structlog.get_logger("everpost.worker")

LOOK_S = (0.05, 0.2)  # how long a waiting worker pauses between two looks at the lock
RENEWALS = 3  # of a lock in the time after which it ends


class AccountLocks:
    """The locks that one worker takes. The store has them, so they outlive Redis.

    Args:
        worker_id: Begins the name of each holder.
        lock_s: Seconds after which a lock ends that is not renewed, because its holder has died.
    """

    def __init__(self, store: Store, clock: Clock, worker_id: str, lock_s: float) -> None:
        self._accounts = store.accounts
        self._clock = clock
        self._worker_id = worker_id
        self._lock_s = lock_s
        self._local: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def hold(self, account: AccountRecord) -> AsyncIterator["Holding"]:
        """Wait for the lock and hold it.

        Raises:
            InvalidError: The account was removed.
            Unavailable: The store fails.
        """
        local = self._local.setdefault(account.key, asyncio.Lock())  # of many attempts here, one asks the store
        async with local:
            holder = f"{self._worker_id}/{uuid4().hex[:8]}"
            holding = Holding(self, await self._take(account, holder), holder)
            renewing = asyncio.create_task(self._renew(holding))
            try:
                yield holding
            finally:
                closing = asyncio.create_task(self._close(holding, renewing))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
                await asyncio.shield(closing)

    async def _take(self, account: AccountRecord, holder: str) -> AccountRecord:
        while True:
            now_ms = self._clock()
            until_ms = now_ms + self._lock_ms
            found, is_taken = await self._accounts.change(*account.key, locked(holder, until_ms, now_ms), now_ms)
            if found is None:
                raise InvalidError(f"The account {account.account_id!r} was removed.")
            if is_taken:
                return found
            await self._wait_until_free(account)

    async def _wait_until_free(self, account: AccountRecord) -> None:
        while True:
            await asyncio.sleep(random.uniform(*LOOK_S))  # noqa: S311 - spread, so that waiting workers do not meet
            found = await self._accounts.find(*account.key)
            if found is None or is_free(found, self._clock(), self._lock_ms):
                return

    @property
    def _lock_ms(self) -> int:
        return round(self._lock_s * 1000)

    async def _renew(self, holding: "Holding") -> None:
        while True:
            await asyncio.sleep(self._lock_s / RENEWALS)
            now_ms = self._clock()
            rule = locked(holding.holder, now_ms + self._lock_ms, now_ms)
            with suppress(Unavailable):  # it is tried again
                found, _ = await self._accounts.change(*holding.account.key, rule, now_ms)
                if found is None or found.locked_by != holding.holder:
                    return

    async def store_tokens(self, holding: "Holding", text: str) -> bool:
        """Store encrypted tokens until the store takes them; False if another worker has the lock."""
        backoff = Backoff(0.1, 5)
        while True:
            try:
                now_ms = self._clock()
                rule = with_tokens(text, holding.holder, now_ms)
                return (await self._accounts.change(*holding.account.key, rule, now_ms))[1]
            except Unavailable as error:
                log.warning("account.tokens_wait", error=error.message)
                await asyncio.sleep(backoff.next_s())

    async def _close(self, holding: "Holding", renewing: asyncio.Task[None]) -> None:
        """Give the lock back, once what must be stored is stored; also if the attempt was cancelled."""
        await holding.wait()
        renewing.cancel()
        await asyncio.wait((renewing,))
        try:
            await self._accounts.change(*holding.account.key, unlocked(holding.holder), self._clock())
        except ServiceError as error:
            platform, account_id = holding.account.key
            log.warning("account.lock_kept", platform=platform, account_id=account_id, error=error.message)

    async def close(self) -> None:
        """Wait until every lock was given back."""
        if self._closing:
            await asyncio.wait(self._closing)


class Holding:
    """A lock that is held.

    Attributes:
        account: The account as it was when the lock was taken.
    """

    def __init__(self, locks: AccountLocks, account: AccountRecord, holder: str) -> None:
        self._locks = locks
        self.account = account
        self.holder = holder
        self._stores: set[asyncio.Task[bool]] = set()

    async def keep_tokens(self, text: str) -> bool:
        """Store encrypted tokens, however long the store is away: the platform has forgotten the ones before them.

        It goes on if the caller is cancelled. False if another worker has the lock now.
        """
        storing = asyncio.create_task(self._locks.store_tokens(self, text))
        self._stores.add(storing)
        return await asyncio.shield(storing)

    async def wait(self) -> None:
        """Wait until everything is stored."""
        if self._stores:
            await asyncio.wait(self._stores)
