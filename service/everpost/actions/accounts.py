"""People's work with accounts: register, change, pause, resume, test and remove them; and the check of a new task."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from everpost.actions.limits import LimitChanges
from everpost.clock import Clock, to_text
from everpost.errors import (
    AccountBlocked,
    AccountExists,
    AccountNotFound,
    AccountNotTested,
    InvalidValue,
    QueueUnreachable,
    ServiceError,
    UnknownAccount,
)
from everpost.limits import lane_of
from everpost.platforms import Catalogue
from everpost.store import Store
from everpost.store.account_directory import REFRESH_S, AccountDirectory
from everpost.task.account_rules import (
    MOST_OPTION_BYTES,
    AccountRecord,
    AccountRule,
    AccountStatus,
    AccountTest,
    is_registrable,
    put_on,
    with_test,
)

log = structlog.get_logger("everpost.accounts")

TEST_S = 15.0  # for a worker's answer
LOOK_S = 0.1


class AccountFields(msgspec.Struct, frozen=True, kw_only=True):
    """What people set of an account; UNSET leaves a field as it is."""

    title: str | msgspec.UnsetType = msgspec.UNSET
    options: Mapping[str, Any] | msgspec.UnsetType = msgspec.UNSET
    credentials: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}


class AccountAdmin:
    """Changes registered accounts.

    Attributes:
        directory: The accounts in short, for each request that must know one.
    """

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock, limits: LimitChanges) -> None:
        self.directory = AccountDirectory(store)
        self._limits = limits
        self._accounts = store.accounts
        self._catalogue = catalogue
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None

    async def add(self, platform: int | str, account_id: str, fields: AccountFields) -> AccountRecord:
        """Register an account.

        Raises:
            InvalidValue: A value is not allowed; the error has its path.
            AccountExists: It is registered already.
        """
        name = self._catalogue.find(platform).name
        if not is_registrable(account_id):
            raise InvalidValue("An account has printable characters without a slash in its id.", "$.account_id")
        _check(fields)
        added = await self._accounts.add(
            AccountRecord(platform=name, account_id=account_id, **fields.given), self._clock()
        )
        if added is None:
            raise AccountExists(name, account_id)
        self._tell("account.added", added)
        self.directory.note(added)
        return added

    async def show(self, platform: str, account_id: str) -> AccountRecord:
        """An account.

        Raises:
            AccountNotFound: It is not registered.
        """
        name = self._catalogue.name_of(platform)
        found = await self._accounts.find(name, account_id)
        if found is None:
            raise AccountNotFound(name, account_id)
        return found

    async def page(
        self, after: tuple[str, str] | None, limit: int, platform: str | None, status: AccountStatus | None
    ) -> list[AccountRecord]:
        """The next accounts in the order of platform and id.

        Raises:
            UnknownPlatform: The catalogue has no such platform.
        """
        name = None if platform is None else self._catalogue.find(platform).name
        return await self._accounts.page(after, limit, platform=name, status=status)

    async def change(self, platform: str, account_id: str, fields: AccountFields) -> AccountRecord:
        """Replace some fields. Other credentials make the stored tokens void.

        Raises:
            InvalidValue: A value is not allowed.
            AccountNotFound: It is not registered.
        """
        _check(fields)

        def change(account: AccountRecord) -> AccountRecord:
            changed = msgspec.structs.replace(account, **fields.given, revision=account.revision + 1)
            if changed.credentials == account.credentials:
                return changed
            return msgspec.structs.replace(changed, tokens=None, tokens_at=None)

        return await self._apply("account.changed", platform, account_id, change)

    async def pause(self, platform: str, account_id: str, reason: str | None) -> AccountRecord:
        """Let its tasks wait. Raises AccountNotFound."""
        rule = put_on(AccountStatus.PAUSED, reason, self._clock())
        paused = await self._apply("account.paused", platform, account_id, rule)
        await self._tell_gate()
        return paused

    async def resume(self, platform: str, account_id: str) -> AccountRecord:
        """Let its tasks go on, whatever paused, held or blocked it. Raises AccountNotFound."""
        rule = put_on(AccountStatus.ACTIVE, None, self._clock())
        resumed = await self._apply("account.resumed", platform, account_id, rule)
        await self._limits.resume(lane_of(*resumed.key))  # it may have been paused there before it was registered
        return resumed

    async def remove(self, platform: str, account_id: str) -> AccountRecord:
        """Forget it and its tokens. Raises AccountNotFound."""
        name = self._catalogue.name_of(platform)
        removed = await self._accounts.remove(name, account_id, self._clock())
        if removed is None:
            raise AccountNotFound(name, account_id)
        self._tell("account.removed", removed)
        self.directory.forget(removed)
        await self._tell_gate()
        return removed

    async def test(self, platform: str, account_id: str) -> AccountRecord:
        """Have a worker test it, and wait for the result, which is in `test`.

        Raises:
            AccountNotFound: It is not registered.
            AccountNotTested: No worker answered within `TEST_S` seconds.
        """
        now_ms = self._clock()
        wanted = AccountTest(test_id=uuid4().hex, requested_at=to_text(now_ms))
        account = await self._apply("account.test_asked", platform, account_id, with_test(wanted))
        try:
            async with asyncio.timeout(TEST_S):
                while account.test is None or account.test.finished_at is None:
                    await asyncio.sleep(LOOK_S)
                    account = await self.show(account.platform, account_id)
        except TimeoutError:
            raise AccountNotTested(TEST_S) from None
        return account

    def start(self) -> None:
        """Learn of the accounts, now and every `REFRESH_S`."""
        self._looking = asyncio.create_task(self._keep_known(), name="accounts")

    async def close(self) -> None:
        """Stop that."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _keep_known(self) -> None:
        while True:
            try:
                await self.directory.refresh()
            except ServiceError as error:
                log.debug("accounts.not_read", error=error.message)
            await asyncio.sleep(REFRESH_S)

    async def check_named(self, platform: str, account_id: str) -> None:
        """Check the account of a new task of a platform that needs registered accounts.

        The store is asked only about an account that this process does not know, as it may be new.

        Raises:
            UnknownAccount: It is not registered.
            AccountBlocked: It is blocked for good.
        """
        known = self.directory.find(platform, account_id) or await self._accounts.find(platform, account_id)
        if known is None:
            raise UnknownAccount(platform, account_id)
        if known.status is AccountStatus.BLOCKED:
            raise AccountBlocked(platform, account_id, known.reason)

    async def _apply(self, event: str, platform: str, account_id: str, rule: AccountRule) -> AccountRecord:
        name = self._catalogue.name_of(platform)
        changed, is_changed = await self._accounts.change(name, account_id, rule, self._clock())
        if changed is None:
            raise AccountNotFound(name, account_id)
        if is_changed:
            self._tell(event, changed)
            self.directory.note(changed)
        return changed

    async def _tell_gate(self) -> None:
        """Tell Redis whether the account's tasks may begin; if it does not answer, the workers do."""
        with suppress(QueueUnreachable):
            await self._limits.apply()

    @staticmethod
    def _tell(event: str, account: AccountRecord) -> None:
        log.info(event, platform=account.platform, account_id=account.account_id, status=account.status)


def _check(fields: AccountFields) -> None:
    """Check what types do not say.

    Raises:
        InvalidValue: A value is not allowed.
    """
    if isinstance(fields.timezone, str):
        _check_zone(fields.timezone)
    if fields.options is not msgspec.UNSET and len(msgspec.json.encode(fields.options)) > MOST_OPTION_BYTES:
        raise InvalidValue(f"The options have at most {MOST_OPTION_BYTES:,} bytes as JSON.", "$.options")


def _check_zone(name: str) -> None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - it takes half a megabyte

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidValue(f"{name[:64]!r} is not an IANA time zone such as Asia/Shanghai.", "$.timezone") from error
