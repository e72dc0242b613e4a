"""The registered accounts in short, in the memory of a process: looked up without asking the store."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import msgspec

from everpost.platforms import Platform
from everpost.store import Store
from everpost.store.accounts import VERSION, Standing, standing_for
from everpost.store.meta import Meta
from everpost.task.account_rules import AccountRecord, AccountStatus

NEEDED = "accounts_needed"  # in `everpost.store.meta.Meta`: the platforms whose publishers need registered accounts

REFRESH_S = 1.0
"""How often a process looks whether an account has changed; it may not know of a change for so long."""


class AccountDirectory:
    """The accounts as they were at the last `refresh`. Before the first one, it knows no account.

    Attributes:
        version: That of the accounts at the last `refresh`, as the store keeps it.
    """

    def __init__(self, store: Store) -> None:
        self._accounts = store.accounts
        self._meta = store.meta
        self.version: str | None = None
        self._standings: dict[tuple[str, str], Standing] = {}
        self._needed: frozenset[str] = frozenset()

    def need(self, platform: Platform) -> bool:
        """Whether the platform's tasks must name a registered account: the catalogue says so, or else its publisher."""
        return platform.name in self._needed if platform.needs_account is None else platform.needs_account

    def find(self, platform: str, account_id: str) -> Standing | None:
        """An account in short; None if it is not registered."""
        return self._standings.get((platform, account_id)) if self._standings else None

    def asked(self) -> Iterator[Standing]:
        """The accounts with a test that waits for a worker."""
        return (standing for standing in [*self._standings.values()] if standing.asked_test is not None)

    def count(self) -> Mapping[tuple[str, AccountStatus], int]:
        """How many accounts each platform has with each status."""
        return Counter((standing.platform, standing.status) for standing in [*self._standings.values()])

    def note(self, account: AccountRecord) -> None:
        """Know an account that this process has added or changed, before the next `refresh`."""
        self._standings[account.key] = standing_for(account)

    def forget(self, account: AccountRecord) -> None:
        """Know that this process has removed an account."""
        self._standings.pop(account.key, None)

    async def refresh(self) -> bool:
        """Read all accounts if any has changed; whether they were read. One read of two small rows otherwise.

        Raises:
            Unavailable: The store cannot be read; the accounts stay as they were known.
        """
        values = await self._meta.get_all((VERSION, NEEDED))
        self._needed = _names_in(values.get(NEEDED))
        version = values.get(VERSION)  # first: a change after it makes the next refresh read again
        if version == self.version:
            return False
        standings = await self._accounts.standings()
        self._standings = {(standing.platform, standing.account_id): standing for standing in standings}
        self.version = version
        return True


async def announce_needs(meta: Meta, platforms: Collection[str]) -> None:
    """Tell all processes which platforms' publishers need registered accounts: only workers load publishers.

    Raises:
        Unavailable: The store cannot be read or written.
    """
    text = msgspec.json.encode(sorted(platforms)).decode() if platforms else None
    if await meta.get(NEEDED) != text:
        await meta.set(NEEDED, text)


def _names_in(text: str | None) -> frozenset[str]:
    try:
        return frozenset() if text is None else msgspec.json.decode(text, type=frozenset[str])
    except (msgspec.DecodeError, UnicodeError):
        return frozenset()
