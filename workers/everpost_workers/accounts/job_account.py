"""A registered account as an attempt has it: reads credentials anew each time, and rotates tokens under the lock."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from everpost.credentials.references import resolve_all
from everpost.credentials.vault import Sealed, Vault, VaultError
from everpost.errors import Unavailable
from everpost.known_secrets import KnownSecrets
from everpost.publishing import Account, AuthError, InvalidError, Tokens, TransientError
from everpost.publishing.account import HeldTokens
from everpost.store.accounts import Accounts
from everpost.task.account_rules import AccountRecord
from everpost_workers.accounts.locks import AccountLocks, Holding

log = structlog.get_logger("everpost.worker")

NAMES = frozenset({"username", "identifier", "client_id"})
"""Credentials that name something and are no secrets: they stand in addresses of posts, where they must stay."""


class AccountTools(msgspec.Struct, frozen=True):
    """What all accounts of a worker share: `environment` and `root` are where references lead."""

    accounts: Accounts
    locks: AccountLocks
    vault: Vault
    environment: Mapping[str, str]
    root: Path


class Unlocked(msgspec.Struct, frozen=True):
    """Credentials that were read: references' values and stored tokens, and a digest of the former."""

    values: dict[str, str]
    tokens: dict[str, str]
    made_from: str


class JobAccount(Account):
    """See `everpost.publishing.Account`.

    Attributes:
        record: The account as it was when the attempt began.
        secrets: Learns every value that the publisher gets.
    """

    def __init__(self, record: AccountRecord, tools: AccountTools) -> None:
        self.id = record.account_id
        self.options = record.options
        self.record = record
        self.secrets = KnownSecrets()
        self._tools = tools
        self._seen_tokens = record.tokens

    async def learn(self) -> None:
        """Let `secrets` know what the publisher may have kept of an earlier attempt, although it asks for nothing."""
        with suppress(AuthError):  # it is raised once the publisher asks
            await self._read(self.record)

    async def credentials(self) -> dict[str, str]:
        """See `Account`."""
        try:
            record = await self._tools.accounts.find(*self.record.key)
        except Unavailable as error:
            raise TransientError(f"The account's credentials cannot be read: {error.message}") from error
        if record is None:
            raise InvalidError(f"The account {self.id!r} was removed.")
        read = await self._read(record)
        return read.values | read.tokens

    @asynccontextmanager
    async def refreshing(self) -> AsyncIterator[Tokens]:
        """See `Account`."""
        try:
            self._tools.vault.check()  # before the platform forgets the present tokens
        except VaultError as error:
            raise AuthError(f"Rotated tokens cannot be kept: {error}.") from error
        async with self._holding() as holding:
            before = self._seen_tokens
            read = await self._read(holding.account)
            yield StoredTokens(self, holding, read, are_fresh=before != holding.account.tokens)

    @asynccontextmanager
    async def _holding(self) -> AsyncIterator[Holding]:
        held = self._tools.locks.hold(self.record)
        try:
            holding = await held.__aenter__()
        except Unavailable as error:
            raise TransientError(f"The account's lock cannot be taken: {error.message}") from error
        try:
            yield holding
        finally:
            await held.__aexit__(None, None, None)

    async def _read(self, record: AccountRecord) -> Unlocked:
        """The credentials in a record; the secrets learn them."""
        tools = self._tools
        given = record.credentials, tools.environment, tools.root
        has_files = any(reference.startswith("file:") for reference in record.credentials.values())
        values, faults = await asyncio.to_thread(resolve_all, *given) if has_files else resolve_all(*given)
        self.secrets.learn(value for name, value in values.items() if name not in NAMES)
        if faults:
            told = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
            raise AuthError(f"Credentials of the account {self.id!r} have no value on this worker: {told}.")
        made_from = digest_of(values)
        tokens = self._open(record, made_from)
        self.secrets.learn(value for name, value in tokens.items() if name not in NAMES)
        self._seen_tokens = record.tokens
        return Unlocked(values, tokens, made_from)

    def _open(self, record: AccountRecord, made_from: str) -> dict[str, str]:
        """The stored tokens. Those that were made from other credentials are void: a person has replaced them."""
        if record.tokens is None:
            return {}
        try:
            sealed = self._tools.vault.open(record.tokens, record.key)
        except VaultError as error:
            raise AuthError(f"The account {self.id!r} has rotated tokens, but {error}.") from error
        return sealed.tokens if sealed.made_from == made_from else {}

    async def keep(self, holding: Holding, tokens: Mapping[str, str], made_from: str) -> None:
        """Store these tokens, encrypted.

        Raises:
            TransientError: Another worker holds the lock.
        """
        self.secrets.learn(value for name, value in tokens.items() if name not in NAMES)
        platform, account_id = self.record.key
        text = self._tools.vault.seal(Sealed(dict(tokens), made_from, (platform, account_id)))
        if not await holding.keep_tokens(text):
            raise TransientError("Another worker rotates the account's tokens now; this one stood still for too long.")
        self._seen_tokens = text
        log.info("account.tokens_stored", platform=platform, account_id=account_id, tokens=sorted(tokens))


class StoredTokens(HeldTokens):
    """See `everpost.publishing.Tokens`."""

    def __init__(self, account: JobAccount, holding: Holding, read: Unlocked, *, are_fresh: bool) -> None:
        super().__init__(read.values | read.tokens, are_fresh=are_fresh)
        self._account = account
        self._holding = holding
        self._stored = dict(read.tokens)
        self._made_from = read.made_from

    async def _keep(self, tokens: Mapping[str, str]) -> None:
        await self._account.keep(self._holding, self._stored | dict(tokens), self._made_from)
        self._stored |= tokens


def digest_of(values: Mapping[str, str]) -> str:
    """A digest of credentials; it is kept encrypted, with the tokens that were made from them."""
    return hashlib.sha256(msgspec.json.encode(sorted(values.items()))).hexdigest()
