"""The API keys in the memory of a process: a request's key is looked up without asking the store."""

from everpost.access import WITH_TOKEN, Caller, KeyRecord, digest_of
from everpost.clock import Clock, to_text
from everpost.store import Store
from everpost.store.keys import VERSION

REFRESH_S = 1.0
"""Seconds between two looks for new and revoked keys: a process knows of a change after this time."""


class KeyDirectory:
    """The keys as they were at the last `refresh`, and EVERPOST_TOKEN.

    Args:
        token: EVERPOST_TOKEN; None if it is not set.

    Attributes:
        is_open: No token is set and no key was ever made, so requests need no credentials. After all keys are revoked,
            it stays False.
        used: The ids of the keys with which requests came; the caller of `take_used` writes them.
    """

    def __init__(self, store: Store, clock: Clock, token: str | None) -> None:
        self._keys = store.keys
        self._meta = store.meta
        self._clock = clock
        self._version: str | None = None
        self._records: list[KeyRecord] = []
        self._of_token = {} if token is None else {digest_of(token): WITH_TOKEN}
        self._callers: dict[str, Caller] = self._of_token
        self._ids: dict[str, Caller] = {}
        self._next_end: str | None = None
        self.is_open = token is None
        self.used: set[str] = set()

    def find(self, secret: bytes) -> Caller | None:
        """The caller that sends a key or the token; None if it is not valid. The key counts as used.

        Digests are compared, so the time that it takes says nothing about a secret.
        """
        caller = self._callers.get(digest_of(secret))
        if caller is not None and caller.key_id is not None:
            self.used.add(caller.key_id)
        return caller

    def find_id(self, key_id: str) -> Caller | None:
        """The caller whose valid key has this id."""
        return self._ids.get(key_id)

    def has_name(self, name: str) -> bool:
        """Whether a key has this name, also one that is not valid any more: its tasks belong to the name."""
        return any(key.name == name for key in self._records)

    def take_used(self) -> set[str]:
        """The ids in `used`, which is empty afterwards."""
        taken, self.used = self.used, set()
        return taken

    async def refresh(self) -> None:
        """Read all keys if any has changed, and forget those that have expired. Usually one read of a small row.

        Raises:
            Unavailable: The store cannot be read; the keys stay as they were known.
        """
        version = await self._meta.get(VERSION)  # first: a change after it makes the next refresh read again
        if version != self._version:
            self._records = await self._keys.all()
            self._version = version
            self._index()
        elif self._next_end is not None and to_text(self._clock()) >= self._next_end:
            self._index()

    def _index(self) -> None:
        now = to_text(self._clock())
        valid = [key for key in self._records if key.is_valid_at(now)]
        callers = {key.digest: key.caller for key in valid} | self._of_token
        self._ids = {key.key_id: callers[key.digest] for key in valid}
        self._callers, self.is_open = callers, not self._of_token and not self._records
        self._next_end = min((key.expires_at for key in valid if key.expires_at is not None), default=None)
