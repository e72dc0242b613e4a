"""Accounts in the form of answers: references instead of secrets, and nothing of the tokens but their time."""

from collections.abc import Mapping
from typing import Any

import msgspec

from everpost.task.account_rules import AccountRecord, AccountStatus, AccountTest


class ShownAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A registered account.

    Attributes:
        credentials: Where each credential is: `env:NAME` or `file:NAME`.
        timezone: None takes EVERPOST_TIMEZONE.
        reason: Why its tasks wait or end.
        tokens_at: When rotated tokens were stored last; None if none are stored.
        test: The last test that was asked for.
    """

    platform: str
    account_id: str
    title: str
    options: Mapping[str, Any]
    credentials: Mapping[str, str]
    timezone: str | None
    status: AccountStatus
    reason: str | None
    since: str | None
    tokens_at: str | None
    test: AccountTest | None
    created_at: str
    updated_at: str


def shown_account(account: AccountRecord) -> ShownAccount:
    """The account as clients see it."""
    return ShownAccount(**{name: getattr(account, name) for name in ShownAccount.__struct_fields__})
