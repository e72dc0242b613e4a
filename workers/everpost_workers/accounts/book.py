"""The registered accounts as one worker uses them: opens the account of an attempt, and holds it after a failure."""

import os
from collections.abc import Mapping

import structlog

from everpost.clock import Clock
from everpost.credentials.vault import Vault, VaultError
from everpost.publishing import Account, AccountBlockedError, InvalidError, UnregisteredAccount
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.account_directory import AccountDirectory
from everpost.task.account_rules import AccountRecord, AccountStatus, after_failure, encrypted_anew, standing_after
from everpost.task.model import ErrorClass
from everpost_workers.accounts.job_account import AccountTools, JobAccount
from everpost_workers.accounts.locks import AccountLocks

log = structlog.get_logger("everpost.worker")

LONGEST_ID = 256
PAGE = 500


class AccountWaitsError(Exception):
    """The account is paused or held: the attempt must not begin."""

    def __init__(self, account: AccountRecord) -> None:
        super().__init__(f"the account is {account.status}")
        self.account = account


class AccountClosedError(AccountBlockedError):
    """The account is blocked for good, so no attempt was made."""


class AccountBook:
    """Opens accounts for attempts.

    Args:
        environment: Where `env:` references lead.

    Attributes:
        directory: The accounts in short.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        *,
        worker_id: str,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.directory = AccountDirectory(store)
        self._accounts = store.accounts
        self._clock = clock
        self._locks = AccountLocks(store, clock, worker_id, settings.lease)
        self._vault = Vault(settings.secret_key)
        self.tools = AccountTools(store.accounts, self._locks, self._vault, environment, settings.secrets_root)

    def lacks(self, platform: str, account_id: object, version: str | None) -> bool:
        """Whether the account was not registered when the accounts had this version, for certain; it asks no store."""
        if not isinstance(account_id, str):
            return True
        return self.directory.version == version and self.directory.find(platform, account_id) is None

    async def open(self, platform: str, account_id: object, *, is_needed: bool) -> Account:
        """The account that a task names, as the store has it.

        Args:
            account_id: As the task has it; a stock client may have sent anything.
            is_needed: The platform publishes with registered accounts only.

        Raises:
            AccountWaitsError: It is paused or held.
            AccountClosedError: It is blocked for good.
            InvalidError: It is needed and not registered.
            Unavailable: The store cannot be read.
        """
        name = account_id if isinstance(account_id, str) else ""
        record = await self._accounts.find(platform, name[: LONGEST_ID + 1])
        if record is None:
            if is_needed:
                raise InvalidError(f"The account {name[:LONGEST_ID]!r} of {platform} is not registered.")
            return UnregisteredAccount(name, platform)
        if record.status is AccountStatus.BLOCKED:
            raise AccountClosedError(f"The account {name!r} is blocked for good: {record.reason or 'no reason given'}")
        if record.status is not AccountStatus.ACTIVE:
            raise AccountWaitsError(record)
        account = JobAccount(record, self.tools)
        await account.learn()
        return account

    async def note_failure(
        self, platform: str, account_id: object, account: Account | None, error_class: ErrorClass, reason: str
    ) -> AccountStatus | None:
        """Put the account on hold, or block it, if the failure of an attempt means that.

        Returns what the failure means for the account's tasks: HELD that they wait, BLOCKED that they end. None if it
        means nothing for the account, or the account is not registered.

        Raises:
            Unavailable: The store fails.
        """
        status = standing_after(error_class)
        if status is None or not isinstance(account_id, str):
            return None
        now_ms = self._clock()
        if isinstance(account, JobAccount):
            revision = account.record.revision
        else:  # it may have been registered since the attempt began
            found = await self._accounts.find(platform, account_id[: LONGEST_ID + 1])
            if found is None:
                return None
            revision = found.revision
        rule = after_failure(status, reason, revision, now_ms)
        changed, is_new = await self._accounts.change(platform, account_id, rule, now_ms)
        if changed is None:
            return None
        if is_new:
            event = "account.held" if status is AccountStatus.HELD else "account.blocked"
            log.warning(event, platform=platform, account_id=account_id, error_class=error_class, reason=changed.reason)
        return status

    async def encrypt_anew(self) -> int:
        """Encrypt all tokens with the first key, so that older keys can be removed; how many were under another key."""
        after: tuple[str, str] | None = None
        changed = 0
        while page := await self._accounts.page(after, PAGE):
            for account in page:
                changed += await self._encrypt_anew(account)
            after = page[-1].key
        if changed:
            log.info("accounts.encrypted_anew", accounts=changed)
        return changed

    async def _encrypt_anew(self, account: AccountRecord) -> bool:
        if account.tokens is None:
            return False
        try:
            text = self._vault.sealed_anew(account.tokens)
        except VaultError as error:
            log.warning(
                "account.tokens_unreadable",
                platform=account.platform,
                account_id=account.account_id,
                error=str(error),
            )
            return False
        if text is None:
            return False
        _, is_done = await self._accounts.change(*account.key, encrypted_anew(account.tokens, text), self._clock())
        return is_done

    async def close(self) -> None:
        """Wait until every lock was given back."""
        await self._locks.close()
