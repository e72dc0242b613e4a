"""API keys: make, list, rotate and revoke them, and know them in this process."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from everpost.access import Caller, KeyRate, KeyRecord, KeyScope, KeyTerms, Role, digest_of, new_secret, prefix_of
from everpost.access.keys import MOST_IN_A_SCOPE, RESERVED_NAMES
from everpost.clock import Clock, to_text
from everpost.errors import ApiKeyExists, ApiKeyNotFound, InvalidValue, LastAdminKey, ServiceError
from everpost.platforms import Catalogue
from everpost.printable import is_printable
from everpost.store import Store
from everpost.store.key_directory import REFRESH_S, KeyDirectory
from everpost.task.account_rules import LONGEST_ACCOUNT
from everpost.task.model import new_task_id

log = structlog.get_logger("everpost.keys")

BETWEEN_NOTES_S = 60.0  # between two writes of `last_used_at`
DEFAULT_OVERLAP_S = 7 * 86_400


class WantedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key to make.

    Attributes:
        platforms: Ids, names or aliases of platforms.
        accounts: Accounts, each as `PLATFORM/ACCOUNT`.
        expires_in_s: Seconds until it expires; None is never.
    """

    name: str
    role: Role
    platforms: Sequence[int | str] = ()
    accounts: Sequence[str] = ()
    rate: KeyRate | None = None
    expires_in_s: float | None = None


class MadeKey(msgspec.Struct, frozen=True):
    """A new key, and its whole text, which is known at this moment only."""

    record: KeyRecord
    secret: str


class KeyAdmin:
    """Makes and revokes keys.

    Args:
        token: EVERPOST_TOKEN, with which an admin can always get in; None if it is not set.

    Attributes:
        directory: The keys that this process knows, for each request.
    """

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock, token: str | None) -> None:
        self.directory = KeyDirectory(store, clock, token)
        self._keys = store.keys
        self._catalogue = catalogue
        self._clock = clock
        self._has_token = token is not None
        self._looking: asyncio.Task[None] | None = None

    async def create(self, wanted: WantedKey, by: Caller) -> MadeKey:
        """Make a key.

        Raises:
            InvalidValue: A value is not allowed, or the first key is not an admin's although no token is set.
            UnknownPlatform: The scope names a platform that the catalogue does not have.
            ApiKeyExists: A valid key has the name.
        """
        scope = self._scope_of(wanted)
        _check_name(wanted.name)
        if wanted.role is not Role.ADMIN and not self._has_token and not await self._valid_admins():
            raise InvalidValue("Without EVERPOST_TOKEN, the first key must be that of an admin.", "$.role")
        terms = KeyTerms(name=wanted.name, role=wanted.role, scope=scope, rate=wanted.rate)
        return await self._add(terms, by, wanted.expires_in_s)

    async def rotate(self, named: str, overlap_s: float, by: Caller) -> MadeKey:
        """Make a key with the name, role, scope and rate of another, which expires after `overlap_s` seconds.

        Raises:
            ApiKeyNotFound: No valid key is named so.
        """
        old = await self.find(named)
        if not old.is_valid_at(to_text(self._clock())):
            raise ApiKeyNotFound(named)
        until = to_text(self._clock() + round(overlap_s * 1000))
        return await self._add(old.terms, by, None, replaces=old.key_id, until=until)

    async def revoke(self, named: str, by: Caller) -> KeyRecord:
        """Refuse a key from now on; other processes know it within `REFRESH_S`.

        Raises:
            ApiKeyNotFound: No key is named so.
            LastAdminKey: No other admin could get in.
        """
        key = await self.find(named)
        if key.role is Role.ADMIN and not self._has_token and await self._valid_admins() == [key.key_id]:
            raise LastAdminKey
        revoked = await self._keys.revoke(key.key_id, to_text(self._clock()), by.name)
        if revoked is None:
            raise ApiKeyNotFound(named)
        await self.directory.refresh()
        log.info("key.revoked", key_id=revoked.key_id, name=revoked.name, by=by.name)
        return revoked

    async def all(self) -> list[KeyRecord]:
        """All keys, the newest first, also those that are not valid any more."""
        return await self._keys.all()

    async def find(self, named: str) -> KeyRecord:
        """The key with an id or a prefix, or the only valid one with a name.

        Raises:
            ApiKeyNotFound: No key matches, or several valid keys have the name.
        """
        keys, now = await self._keys.all(), to_text(self._clock())
        exact = [key for key in keys if named in {key.key_id, key.prefix}]
        found = exact or [key for key in keys if key.name == named and key.is_valid_at(now)]
        if len(found) != 1:
            raise ApiKeyNotFound(named, len(found))
        return found[0]

    async def start(self) -> None:
        """Learn of the keys, now and every `REFRESH_S`.

        Raises:
            Unavailable: The store cannot be read, so the keys are unknown.
        """
        await self.directory.refresh()
        self._looking = asyncio.create_task(self._keep_known(), name="keys")

    async def close(self) -> None:
        """Stop learning of keys, and write which keys were used."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
            await self._note_used()

    async def _add(self, terms: KeyTerms, by: Caller, expires_in_s: float | None, **replacing: str) -> MadeKey:
        now_ms, secret = self._clock(), new_secret()
        record = KeyRecord(
            **msgspec.structs.asdict(terms),
            key_id=new_task_id(now_ms),
            prefix=prefix_of(secret),
            digest=digest_of(secret),
            created_at=to_text(now_ms),
            created_by=by.name,
            expires_at=None if expires_in_s is None else to_text(now_ms + round(expires_in_s * 1000)),
        )
        if await self._keys.add(record, **replacing) is None:
            raise ApiKeyExists(record.name)
        await self.directory.refresh()
        log.info("key.created", key_id=record.key_id, name=record.name, role=record.role, by=by.name)
        return MadeKey(record, secret)

    def _scope_of(self, wanted: WantedKey) -> KeyScope:
        pairs = [account.partition("/") for account in wanted.accounts]
        for place, (platform, slash, account_id) in enumerate(pairs):
            if not (platform and slash and account_id):
                raise InvalidValue("Write the account as PLATFORM/ACCOUNT.", f"$.accounts[{place}]")
            if len(account_id) > LONGEST_ACCOUNT:
                raise InvalidValue(f"An account has at most {LONGEST_ACCOUNT} characters.", f"$.accounts[{place}]")
        if len(wanted.platforms) + len(pairs) > MOST_IN_A_SCOPE:
            raise InvalidValue(f"A scope has at most {MOST_IN_A_SCOPE} platforms and accounts.", "$.accounts")
        if (wanted.platforms or pairs) and wanted.role is Role.ADMIN:
            raise InvalidValue("A key of an admin cannot have a scope, because an admin can make any key.", "$.role")
        platforms = {self._catalogue.find(platform).name for platform in wanted.platforms}
        accounts = {(self._catalogue.find(platform).name, account_id) for platform, _, account_id in pairs}
        return KeyScope(tuple(sorted(platforms)), tuple(sorted(accounts)))

    async def _valid_admins(self) -> Sequence[str]:
        """The ids of the keys of admins that stay valid."""
        now = to_text(self._clock())
        keys = [key for key in await self._keys.all() if key.role is Role.ADMIN and key.is_valid_at(now)]
        return [key.key_id for key in keys if key.expires_at is None]

    async def _keep_known(self) -> None:
        loop = asyncio.get_running_loop()
        next_note_s = loop.time() + BETWEEN_NOTES_S
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.directory.refresh()
            except ServiceError as error:
                log.debug("keys.not_read", error=error.message)
            if loop.time() >= next_note_s:
                next_note_s = loop.time() + BETWEEN_NOTES_S
                await self._note_used()

    async def _note_used(self) -> None:
        used = self.directory.take_used()
        if not used:
            return
        try:
            await self._keys.note_used(sorted(used), to_text(self._clock()))
        except ServiceError as error:
            self.directory.used |= used
            log.debug("keys.use_not_noted", error=error.message)


def _check_name(name: str) -> None:
    """Refuse names that could be taken for another caller, or that do odd things on a terminal."""
    if not is_printable(name) or name != name.strip():
        raise InvalidValue("It contains characters that are invisible or control a terminal.", "$.name")
    if name.casefold() in RESERVED_NAMES:
        raise InvalidValue(f"{name!r} is reserved; choose another name.", "$.name")
