"""An account for tests of publishers: its credentials are in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from everpost.publishing import Account, Tokens
from everpost.publishing.account import HeldTokens


class AccountDouble(Account):
    """A registered account, for `PublishJob(account=...)`.

    Attributes:
        stored: The tokens that the publisher has stored.
        refreshes: How often the right to rotate tokens was given.
        error: Raised by `credentials` and `refreshing`, if it is set.
    """

    def __init__(
        self,
        account_id: str = "account",
        credentials: Mapping[str, str] = MappingProxyType({}),
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.id = account_id
        self.options = options
        self.stored: dict[str, str] = {}
        self.refreshes = 0
        self.error: Exception | None = None
        self._values = dict(credentials)
        self._lock = asyncio.Lock()
        self._version = self._seen = 0

    async def credentials(self) -> dict[str, str]:
        """The credentials, and the stored tokens."""
        if self.error is not None:
            raise self.error
        self._seen = self._version
        return self._values | self.stored

    def rotate(self, **tokens: str) -> None:
        """Store tokens as another worker would."""
        self.stored |= tokens
        self._version += 1

    @asynccontextmanager
    async def refreshing(self) -> AsyncIterator[Tokens]:
        """The right to rotate tokens."""
        async with self._lock:
            seen = self._seen
            values = await self.credentials()
            self.refreshes += 1
            yield _Kept(self, values, are_fresh=seen != self._version)


class _Kept(HeldTokens):
    def __init__(self, account: AccountDouble, values: Mapping[str, str], *, are_fresh: bool) -> None:
        super().__init__(values, are_fresh=are_fresh)
        self._account = account

    async def _keep(self, tokens: Mapping[str, str]) -> None:
        self._account.rotate(**tokens)
