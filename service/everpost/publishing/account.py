"""The account a task is published with, as a publisher sees it: its options, credentials and rotated tokens."""

import abc
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

from everpost.publishing.errors import InvalidError

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class Tokens(Mapping[str, str], abc.ABC):
    """The account's credentials while this attempt alone may change them. Read them like a dictionary.

    Attributes:
        are_fresh: Another holder has stored tokens since this attempt began, or last asked for the credentials. Use
            them, and do not refresh them again.
    """

    are_fresh: bool

    @abc.abstractmethod
    async def store(self, tokens: Mapping[str, str]) -> None:
        """Keep rotated tokens, encrypted; they are durable when this returns, and all workers get them from now on.

        They replace the stored ones of the same names. From now on they stand in `credentials()`, before the values of
        references of the same names.

        Raises:
            TransientError: Another worker holds the lock now, because this process stood still for too long. Nothing
                was stored.
        """


class Account(abc.ABC):
    """The account a task names. Its values never appear in its repr, in logs or in what is kept with the task.

    Attributes:
        id: The task's `account_id`. It is free text of the client's unless the account is registered.
        options: What was registered with the account and is not secret; empty if it is not registered.
        is_registered: Whether the account is registered, so that it may have credentials.
    """

    id: str
    options: Mapping[str, Any] = NO_OPTIONS
    is_registered: bool = True

    @abc.abstractmethod
    async def credentials(self) -> dict[str, str]:
        """The credentials by name, read anew: the values of the account's references, and tokens that were stored.

        Raises:
            AuthError: A reference leads nowhere on this worker, or the stored tokens cannot be decrypted. The account
                is put on hold if the publisher lets the error through.
            InvalidError: The account is not registered.
        """

    @abc.abstractmethod
    def refreshing(self) -> AbstractAsyncContextManager[Tokens]:
        """The right to rotate the account's tokens: one holder at a time among all workers.

        `async with account.refreshing() as tokens:` waits for the present holder, and reads the credentials anew. A
        holder that dies loses the right after `LOCK_S` seconds.

        Raises the errors of `credentials`, and AuthError if this worker cannot encrypt tokens.
        """

    def __repr__(self) -> str:
        return f"<account {self.id!r}>"


class UnregisteredAccount(Account):
    """An account that is not registered: only its id is known."""

    is_registered = False

    def __init__(self, account_id: str = "", platform: str = "") -> None:
        self.id = account_id
        self._platform = platform

    async def credentials(self) -> dict[str, str]:
        """See `Account`: it has none."""
        raise self._refusal()

    def refreshing(self) -> AbstractAsyncContextManager[Tokens]:
        """See `Account`: it has none."""
        raise self._refusal()

    def _refusal(self) -> InvalidError:
        return InvalidError(
            f"The account {self.id[:100]!r} of {self._platform or 'this platform'} is not registered, so it has no "
            "credentials; `everpost accounts add` registers it."
        )


class HeldTokens(Tokens):
    """Tokens over a dictionary; subclasses say where they are stored."""

    def __init__(self, values: Mapping[str, str], *, are_fresh: bool) -> None:
        self._values = dict(values)
        self.are_fresh = are_fresh

    async def store(self, tokens: Mapping[str, str]) -> None:
        """See `Tokens`."""
        kept = checked_tokens(tokens)
        await self._keep(kept)
        self._values |= kept

    @abc.abstractmethod
    async def _keep(self, tokens: Mapping[str, str]) -> None:
        """Make them durable."""

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<tokens {', '.join(self._values)}>"


MOST_TOKEN_BYTES = 65_536


def checked_tokens(tokens: Mapping[str, str]) -> dict[str, str]:
    """The tokens as a dictionary of texts.

    Raises:
        TypeError: A name or value is not a text; the message has no value.
        ValueError: They are too large.
    """
    kept = dict(tokens)
    if not all(type(name) is str and type(value) is str for name, value in kept.items()):
        raise TypeError("tokens are texts by name")
    if sum(len(name.encode()) + len(value.encode()) for name, value in kept.items()) > MOST_TOKEN_BYTES:
        raise ValueError(f"tokens have at most {MOST_TOKEN_BYTES:,} bytes")
    return kept
