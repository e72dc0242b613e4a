"""The time zones of accounts, in which times without an offset are read."""

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Any, TypeAlias

from everpost.errors import InvalidValue, UnknownPlatform
from everpost.platforms import Catalogue
from everpost.store.accounts import Accounts
from everpost.task.recurrence import Recurrence
from everpost.task.schedule_times import needs_zone

FindZone: TypeAlias = Callable[[str, str], Awaitable[str | None]]
"""Finds the IANA name of an account's zone, by the platform's name and the account's id; None if it has none."""

KnownZones: TypeAlias = dict[tuple[str, str], tzinfo | None]
"""The zones of accounts that were found, by platform and account."""


def zones_in(accounts: Accounts) -> FindZone:
    """Finds the zones of registered accounts."""

    async def find(platform: str, account_id: str) -> str | None:
        account = await accounts.find(platform, account_id)
        return None if account is None else account.timezone

    return find


class AccountZones:
    """Finds the zone of an account, if a task has a time to be read in it.

    Args:
        default: `EVERPOST_TIMEZONE`, for accounts without a zone of their own.
    """

    def __init__(self, catalogue: Catalogue, default: tzinfo, find: FindZone) -> None:
        self._catalogue = catalogue
        self._find = find
        self.default = default

    async def of_data(self, data: Any, known: KnownZones | None = None) -> tzinfo | None:
        """The zone for a task's decoded JSON; None if it has no time, or if `EVERPOST_TIMEZONE` applies.

        Data that is not a valid task has no zone; its reader finds the fault.

        Args:
            known: Remembers the zones of accounts while one request is read.

        Raises:
            InvalidValue: The account's zone is not a zone of this machine.
        """
        if not needs_zone(data):
            return None
        try:
            platform = self._catalogue.find(data.get("platform", "")).name
        except UnknownPlatform:
            return None
        account_id = data.get("account_id")
        if not isinstance(account_id, str):
            return None
        return await self.of_account(platform, account_id, {} if known is None else known)

    async def of_account(self, platform: str, account_id: str, known: KnownZones) -> tzinfo | None:
        """The zone of an account; None if it has none of its own. Raises the error of `of_data`."""
        account = (platform, account_id)
        if account not in known:
            name = await self._find(platform, account_id)
            known[account] = None if name is None else zone_named(name, "$.account_id")
        return known[account]

    async def of_recurrence(self, recurrence: Recurrence) -> tzinfo:
        """The zone of a recurring post: its own, its account's, or `EVERPOST_TIMEZONE`.

        Raises:
            InvalidValue: It is not a zone of this machine.
        """
        if recurrence.timezone is not None:
            return zone_named(recurrence.timezone, "$.timezone")
        return await self.of_account(recurrence.platform, recurrence.account_id, {}) or self.default


def zone_named(name: str, path: str) -> tzinfo:
    """The IANA time zone with this name.

    Raises:
        InvalidValue: There is no such zone.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - it takes half a megabyte

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidValue(f"{name[:64]!r} is not an IANA time zone such as Europe/Berlin.", path) from error
