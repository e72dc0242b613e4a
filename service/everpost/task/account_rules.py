"""The rules of accounts: what a failure means for its account, who holds an account's lock, what people may change."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.clock import to_text
from everpost.settings import ACCOUNT
from everpost.task.model import ErrorClass

LONGEST_REASON = 2_000  # characters
MOST_OPTION_BYTES = 16_384  # of JSON
MOST_CREDENTIALS = 32

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
REFERENCE = rf"^(env:{ACCOUNT}[A-Z0-9_]{{1,200}}|file:{_NAME}(/{_NAME}){{0,8}})\Z"
"""Where a credential is: an environment variable of the workers, or a file below `EVERPOST_SECRETS`.

Other names are refused: otherwise any client of the API could have any secret of the workers' hosts sent to a platform
of its choice.
"""

LONGEST_ACCOUNT = 256  # characters
AccountId = Annotated[str, Meta(min_length=1, max_length=LONGEST_ACCOUNT)]
CREDENTIAL_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z"
CredentialName = Annotated[str, Meta(pattern=CREDENTIAL_NAME)]
Reference = Annotated[str, Meta(pattern=REFERENCE, max_length=400)]


class AccountStatus(StrEnum):
    """Whether an account's tasks run."""

    ACTIVE = "active"
    PAUSED = "paused"  # by a person
    HELD = "held"  # the platform refuses its credentials, or wants a person
    BLOCKED = "blocked"  # the platform has closed it for good: its tasks end


class AccountTest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A test of an account, made by a worker.

    Attributes:
        worker: The worker that took it; None while none has.
        ok: Whether every reference leads to a value, and the platform accepts the credentials, if it can be asked.
        asked: Whether the platform was asked.
        credentials: For each name `ok`, or why it has no value.
        detail: What the platform said, or why the test failed.
    """

    test_id: str
    requested_at: str
    worker: str | None = None
    finished_at: str | None = None
    ok: bool | None = None
    asked: bool | None = None
    credentials: Mapping[str, str] = msgspec.field(default_factory=dict)
    error_class: ErrorClass | None = None
    detail: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether a worker should make it."""
        return self.worker is None


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A registered account, as a store keeps it. Times are UTC text.

    Attributes:
        credentials: References by name, never secrets.
        timezone: The IANA name of its time zone; None takes `EVERPOST_TIMEZONE`.
        reason: Why it is not active.
        since: When it got its status.
        tokens: Rotated tokens, encrypted.
        revision: The number of changes by people. A failure holds the account only if no person has changed it since
            the attempt began.
        locked_by, locked_until_ms: Who may rotate the tokens, and until when.
    """

    platform: str
    account_id: str
    title: str = ""
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    credentials: Mapping[str, str] = msgspec.field(default_factory=dict)
    timezone: str | None = None
    status: AccountStatus = AccountStatus.ACTIVE
    reason: str | None = None
    since: str | None = None
    tokens: str | None = None
    tokens_at: str | None = None
    revision: int = 0
    locked_by: str | None = None
    locked_until_ms: int | None = None
    test: AccountTest | None = None
    created_at: str = ""
    updated_at: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Its platform and id."""
        return self.platform, self.account_id


AccountRule = Callable[[AccountRecord], AccountRecord | None]
"""The account after a change; None if it stays as it is. Pure; it may be called twice."""


def standing_after(error_class: ErrorClass) -> AccountStatus | None:
    """What an attempt's failure makes of its account; None if it means nothing for the account."""
    if error_class in {ErrorClass.AUTH, ErrorClass.NEEDS_PERSON}:
        return AccountStatus.HELD
    return AccountStatus.BLOCKED if error_class is ErrorClass.ACCOUNT_BLOCKED else None


def put_on(status: AccountStatus, reason: str | None, now_ms: int) -> AccountRule:
    """A person's change of the status."""

    def change(account: AccountRecord) -> AccountRecord | None:
        if (account.status, account.reason) == (status, reason):
            return None
        return _with_status(account, status, reason, now_ms, revision=account.revision + 1)

    return change


def paused_by_hand(reason: str, now_ms: int) -> AccountRule:
    """A pause of an active account; what holds or blocks it otherwise stays."""
    pause = put_on(AccountStatus.PAUSED, reason, now_ms)
    return lambda account: pause(account) if account.status is AccountStatus.ACTIVE else None


def resumed_by_hand(now_ms: int) -> AccountRule:
    """The end of a pause or a hold; a blocked account stays blocked."""
    resume = put_on(AccountStatus.ACTIVE, None, now_ms)
    return lambda account: None if account.status is AccountStatus.BLOCKED else resume(account)


def after_failure(status: AccountStatus, reason: str, seen_revision: int, now_ms: int) -> AccountRule:
    """The change after a failed attempt that began when the account had `seen_revision`."""

    def change(account: AccountRecord) -> AccountRecord | None:
        is_stale = account.revision != seen_revision and status is AccountStatus.HELD
        if is_stale or account.status in {status, AccountStatus.BLOCKED}:
            return None
        if account.status is AccountStatus.PAUSED and status is AccountStatus.HELD:
            return None  # it stays paused, and is held after the pause if it fails again
        return _with_status(account, status, reason, now_ms, revision=account.revision)

    return change


def _with_status(
    account: AccountRecord, status: AccountStatus, reason: str | None, now_ms: int, *, revision: int
) -> AccountRecord:
    kept = reason
    if kept is not None:
        kept = None if status is AccountStatus.ACTIVE else kept[:LONGEST_REASON].replace("\0", "\ufffd")
    return msgspec.structs.replace(account, status=status, reason=kept, since=to_text(now_ms), revision=revision)


def locked(holder: str, until_ms: int, now_ms: int) -> AccountRule:
    """The lock taken or renewed by `holder`."""

    def change(account: AccountRecord) -> AccountRecord | None:
        if account.locked_by != holder and not is_free(account, now_ms, until_ms - now_ms):
            return None
        return msgspec.structs.replace(account, locked_by=holder, locked_until_ms=until_ms)

    return change


def is_free(account: AccountRecord, now_ms: int, lock_ms: int) -> bool:
    """Whether no attempt holds the lock: its last holder gave it back or died.

    A lock that ends later than a holder can ask for was taken before a clock was set back, and is free too.
    """
    until_ms = account.locked_until_ms
    return account.locked_by is None or until_ms is None or not now_ms < until_ms <= now_ms + 2 * lock_ms


def unlocked(holder: str) -> AccountRule:
    """The lock given back by `holder`."""

    def change(account: AccountRecord) -> AccountRecord | None:
        if account.locked_by != holder:
            return None
        return msgspec.structs.replace(account, locked_by=None, locked_until_ms=None)

    return change


def with_tokens(tokens: str, holder: str, now_ms: int) -> AccountRule:
    """New tokens, stored by the holder of the lock."""

    def change(account: AccountRecord) -> AccountRecord | None:
        if account.locked_by != holder:
            return None
        return msgspec.structs.replace(account, tokens=tokens, tokens_at=to_text(now_ms))

    return change


def encrypted_anew(before: str, tokens: str) -> AccountRule:
    """The same tokens under a newer key; nothing if they were rotated meanwhile."""

    def change(account: AccountRecord) -> AccountRecord | None:
        return None if account.tokens != before else msgspec.structs.replace(account, tokens=tokens)

    return change


def with_test(test: AccountTest, before: AccountTest | None = None) -> AccountRule:
    """A requested test, or a test as its worker took or finished it: then only if it is still `before`."""

    def change(account: AccountRecord) -> AccountRecord | None:
        if before is not None and account.test != before:
            return None
        return msgspec.structs.replace(account, test=test)

    return change


def concerns_all(before: AccountRecord | None, after: AccountRecord | None) -> bool:
    """Whether the processes must learn of a change: of a status, a zone, an open test, or an account's existence."""
    return _seen(before) != _seen(after)


def _seen(account: AccountRecord | None) -> object:
    if account is None:
        return None
    is_asked = account.test is not None and account.test.is_open
    return account.status, account.reason, account.since, account.timezone, is_asked and account.test


def is_registrable(account_id: str) -> bool:
    """Whether an account can be registered under this id: routes must be able to name it."""
    has_words = account_id.isprintable() and bool(account_id.strip())
    return has_words and "/" not in account_id and account_id not in {".", ".."}


def refers(reference: str) -> tuple[str, str]:
    """The kind of a reference, `env` or `file`, and the name in it."""
    kind, _, name = reference.partition(":")
    return kind, name


def is_reference(text: str) -> bool:
    """Whether it has the form of a reference."""
    return re.match(REFERENCE, text) is not None
