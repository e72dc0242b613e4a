"""Tests of accounts that people ask for: only a worker knows where references lead, so a worker makes them."""

import asyncio
from collections.abc import Mapping

import msgspec
import structlog

from everpost.clock import Clock, from_text, to_text
from everpost.credentials.references import resolve_all
from everpost.errors import ServiceError, UnknownPlatform
from everpost.known_secrets import CURRENT
from everpost.platforms import Catalogue
from everpost.publishing import AuthError, Publisher
from everpost.publishing.raised import error_class_of, message_of
from everpost.store import Store
from everpost.store.accounts import Standing
from everpost.task.account_rules import AccountRecord, AccountTest, with_test
from everpost.task.model import PublisherClass
from everpost_workers.accounts.book import AccountBook
from everpost_workers.accounts.job_account import JobAccount
from everpost_workers.engine import cancel_until_done

log = structlog.get_logger("everpost.worker")

CHECK_S = 10.0  # for the platform's answer
STALE_MS = 60_000  # an older request has no caller any more
TOO_LATE = "No worker was there when it was asked for."
LONGEST_DETAIL = 2_000


class AccountTrials:
    """Makes the tests that wait for a worker; each is made by one worker.

    Args:
        publishers: By platform name; they ask the platforms.
    """

    def __init__(
        self,
        book: AccountBook,
        store: Store,
        catalogue: Catalogue,
        publishers: Mapping[str, Publisher],
        clock: Clock,
        worker_id: str,
    ) -> None:
        self._book = book
        self._accounts = store.accounts
        self._catalogue = catalogue
        self._publishers = publishers
        self._clock = clock
        self._worker_id = worker_id
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def notice(self, version: str | None) -> None:
        """Note the version of the accounts in the store. Every worker does this about twice a second."""
        directory = self._book.directory
        if version != directory.version or any(True for _ in directory.asked()):
            self._wake.set()

    async def look_when_due(self) -> None:
        """Wait until there may be something to learn or to test, then look; the worker repeats this.

        Raises:
            ServiceError: The store does not answer.
        """
        await self._wake.wait()
        self._wake.clear()
        await self.look()

    async def look(self) -> None:
        """Learn of changed accounts, and begin the tests that are asked for.

        Raises:
            ServiceError: The store does not answer.
        """
        await self._book.directory.refresh()
        for standing in self._book.directory.asked():
            if (account := await self._take(standing)) is not None:
                running = asyncio.create_task(self._make(account))
                self._running.add(running)
                running.add_done_callback(self._running.discard)

    async def _take(self, standing: Standing) -> AccountRecord | None:
        """Take a test; None if another worker has it, or no request waits for it."""
        account = await self._accounts.find(standing.platform, standing.account_id)
        if account is None or account.test is None or not account.test.is_open:
            return None
        now_ms = self._clock()
        taken = msgspec.structs.replace(account.test, worker=self._worker_id)
        is_stale = now_ms - (from_text(account.test.requested_at) or 0) > STALE_MS
        if is_stale:
            taken = msgspec.structs.replace(taken, finished_at=to_text(now_ms), ok=False, detail=TOO_LATE)
        found, is_mine = await self._accounts.change(*account.key, with_test(taken, account.test), now_ms)
        return found if is_mine and not is_stale else None

    async def _make(self, account: AccountRecord) -> None:
        taken = account.test
        assert taken is not None, "it was taken"
        finished = await self.test(account, taken)
        now_ms = self._clock()
        finished = msgspec.structs.replace(finished, finished_at=to_text(now_ms))
        try:
            await self._accounts.change(*account.key, with_test(finished, taken), now_ms)
        except ServiceError as error:  # the caller asks again
            log.warning("account.test_lost", error=error.message)
            return
        log.info("account.tested", platform=account.platform, account_id=account.account_id, ok=finished.ok)

    async def test(self, account: AccountRecord, test: AccountTest) -> AccountTest:
        """The test with what was found."""
        tools = self._book.tools
        _, faults = await asyncio.to_thread(resolve_all, account.credentials, tools.environment, tools.root)
        told = {name: faults.get(name, "ok") for name in account.credentials}
        test = msgspec.structs.replace(test, credentials=told)
        opened = JobAccount(account, tools)
        CURRENT.set(opened.secrets)
        try:
            await opened.credentials()
            async with asyncio.timeout(CHECK_S):
                said = await self._publisher_of(account).check_account(opened)
        except TimeoutError:
            detail = f"The platform did not answer within {CHECK_S:g} s."
            return msgspec.structs.replace(test, ok=False, asked=True, detail=detail)
        except Exception as error:  # noqa: BLE001 - whatever a publisher raises is the finding
            detail = opened.secrets.hide(message_of(error))[:LONGEST_DETAIL]
            error_class = error_class_of(error, PublisherClass.LOCAL)
            return msgspec.structs.replace(test, ok=False, asked=not faults, error_class=error_class, detail=detail)
        shown = opened.secrets.hide(said)[:LONGEST_DETAIL] if isinstance(said, str) else None
        return msgspec.structs.replace(test, ok=True, asked=said is not None, detail=shown)

    async def close(self) -> None:
        """Give up the tests that are being made."""
        await cancel_until_done(*self._running)

    def _publisher_of(self, account: AccountRecord) -> Publisher:
        try:
            return self._publishers[self._catalogue.find(account.platform).name]
        except UnknownPlatform as error:
            raise AuthError(error.message) from error
