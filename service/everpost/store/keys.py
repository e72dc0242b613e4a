"""The port's noun `keys`: API keys, and the sessions of the console."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

import msgspec

from everpost.access import KeyRate, KeyRecord, KeyScope, Role, SessionRecord

VERSION = "keys"  # in `everpost.store.meta.Meta`: another value after each change that all processes must learn of


class Keys(Protocol):
    """API keys and sessions. Writes are durable; they raise the errors of `everpost.store.ledger.Ledger`.

    In the same transaction, each change but `note_used` puts a new value under `VERSION`. Rows of keys are never
    removed.
    """

    async def add(self, key: KeyRecord, *, replaces: str | None = None, until: str | None = None) -> KeyRecord | None:
        """Keep a new key; None, and nothing is written, if a valid key has its name.

        Args:
            replaces: The id of a valid key that the new one replaces; then others may have its name. That key expires
                `until` then, or earlier if it does so anyway. If there is no such valid key, nothing is written.
        """

    async def all(self) -> list[KeyRecord]:
        """All keys, the newest first."""

    async def revoke(self, key_id: str, now: str, by: str) -> KeyRecord | None:
        """Revoke a key and end its sessions; the key as it is now, None if it is unknown. Repeating changes nothing."""

    async def note_used(self, used: Sequence[str], now: str) -> None:
        """Note that the keys with these ids were used just now."""

    async def begin_session(self, session: SessionRecord) -> None:
        """Keep a new session, and remove those that have expired by its beginning."""

    async def find_session(self, digest: str) -> SessionRecord | None:
        """The session with a digest, also an expired one; None if it is unknown."""

    async def note_session(self, digest: str, now: str) -> None:
        """Note that a session was used just now."""

    async def end_session(self, digest: str) -> None:
        """Remove a session, if it is there."""


def row_of_key(key: KeyRecord) -> dict[str, Any]:
    """The key as the named values of a row."""
    row = msgspec.structs.asdict(key) | {"role": key.role.value, "scope": _json(key.scope)}
    return row | {"rate": None if key.rate is None else _json(key.rate)}


def key_of(row: Mapping[str, Any]) -> KeyRecord:
    """The key in a row."""
    values = dict(row) | {"role": Role(row["role"]), "scope": msgspec.json.decode(row["scope"], type=KeyScope)}
    rate = None if row["rate"] is None else msgspec.json.decode(row["rate"], type=KeyRate)
    return KeyRecord(**(values | {"rate": rate}))


def row_of_session(session: SessionRecord) -> dict[str, Any]:
    """The session as the named values of a row."""
    return msgspec.structs.asdict(session) | {"role": session.role.value}


def session_of(row: Mapping[str, Any]) -> SessionRecord:
    """The session in a row."""
    return SessionRecord(**(dict(row) | {"role": Role(row["role"])}))


def new_version() -> str:
    """A value for `VERSION` that was never there before."""
    return uuid4().hex


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
