"""The port's noun `accounts`: registered accounts, their status, and their encrypted tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

import msgspec

from everpost.clock import to_text
from everpost.task.account_rules import AccountRecord, AccountRule, AccountStatus, AccountTest
from everpost.task.holds import ChangeScope, Hold, WaitKind, held_by, without_hold

VERSION = "accounts"  # in `everpost.store.meta.Meta`: another value after each change that all processes must learn of


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What every process keeps in memory of an account; `asked_test` is the id of a test that waits for a worker."""

    platform: str
    account_id: str
    status: AccountStatus
    reason: str | None
    since: str | None
    timezone: str | None
    asked_test: str | None


class Accounts(Protocol):
    """Registered accounts. Writes are durable; they raise the errors of `everpost.store.ledger.Ledger`.

    In the same transaction, a change of which `concerns_all` is true puts a new value under `VERSION`, and a change
    of the status holds the account's lane or frees it, as `Limits.change` does with the rule of `lane_rule`.
    """

    async def add(self, account: AccountRecord, now_ms: int) -> AccountRecord | None:
        """Register an account, and return it; None if it is registered already."""

    async def find(self, platform: str, account_id: str) -> AccountRecord | None:
        """An account, as it was committed last; None if it is not registered."""

    async def page(
        self,
        after: tuple[str, str] | None,
        limit: int,
        *,
        platform: str | None = None,
        status: AccountStatus | None = None,
    ) -> list[AccountRecord]:
        """The next accounts in the order of platform and id, at most `limit`."""

    async def standings(self) -> list[Standing]:
        """All accounts in short, in no order."""

    async def change(
        self, platform: str, account_id: str, rule: AccountRule, now_ms: int
    ) -> tuple[AccountRecord | None, bool]:
        """Apply a rule under the store's lock. The account as it is now, and whether the rule changed it.

        (None, False) if it is not registered. The platform, the id and `created_at` never change.
        """

    async def remove(self, platform: str, account_id: str, now_ms: int) -> AccountRecord | None:
        """Forget an account and its tokens, and return it; None if it is not registered."""


def lane_rule(before: AccountRecord | None, after: AccountRecord | None) -> ChangeScope | None:
    """The change of the account's lane that follows a change of the account; None if nothing changes for its tasks."""
    hold = hold_of(after)
    if hold == hold_of(before):
        return None
    return without_hold() if hold is None else held_by(hold)


def hold_of(account: AccountRecord | None) -> Hold | None:
    """What holds the tasks of an account; None if they may begin."""
    if account is None or account.status not in HOLDS:
        return None
    return Hold(kind=HOLDS[account.status], reason=account.reason or "", since=account.since or "")


HOLDS = {AccountStatus.PAUSED: WaitKind.PAUSED, AccountStatus.HELD: WaitKind.HELD}
JSON_COLUMNS = {"options": dict[str, Any], "credentials": dict[str, str], "test": AccountTest}


def row_of(account: AccountRecord, now_ms: int) -> dict[str, Any]:
    """The account as the named values of a row, changed now."""
    row = msgspec.structs.asdict(account) | {"status": account.status.value, "updated_at": to_text(now_ms)}
    row["created_at"] = account.created_at or row["updated_at"]
    return row | {name: None if row[name] is None else _as_json(row[name]) for name in JSON_COLUMNS}


def account_of(row: Mapping[str, Any]) -> AccountRecord:
    """The account in a row."""
    values = dict(row) | {"status": AccountStatus(row["status"])}
    for name, kind in JSON_COLUMNS.items():
        if values[name] is not None:
            values[name] = msgspec.json.decode(values[name], type=kind)
    return AccountRecord(**values)


def standing_for(account: AccountRecord) -> Standing:
    """The account in short."""
    asked_test = account.test.test_id if account.test is not None and account.test.is_open else None
    status, reason, since, timezone = account.status, account.reason, account.since, account.timezone
    return Standing(account.platform, account.account_id, status, reason, since, timezone, asked_test)


def standing_of(row: Sequence[Any]) -> Standing:
    """The account in short, from a row in the order of `Standing`; the last value is a test as JSON."""
    *values, test = row
    asked = None if test is None else msgspec.json.decode(test, type=AccountTest)
    platform, account_id, status, reason, since, timezone = values
    asked_test = asked.test_id if asked is not None and asked.is_open else None
    return Standing(platform, account_id, AccountStatus(status), reason, since, timezone, asked_test)


def new_version() -> str:
    """A value for `VERSION` that was never there before."""
    return uuid4().hex


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
