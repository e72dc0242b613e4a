"""Sessions of the console: begun with a key, the token or an identity provider; found by the cookie of each request."""

import secrets
from collections import OrderedDict
from contextlib import suppress
from time import monotonic

import msgspec
import structlog

from everpost.access import SESSION_MS, Caller, SessionRecord, digest_of
from everpost.clock import Clock, from_text, to_text
from everpost.errors import ServiceError
from everpost.store.key_directory import REFRESH_S, KeyDirectory
from everpost.store.keys import Keys

log = structlog.get_logger("everpost.keys")

MOST_KNOWN = 1_000
BETWEEN_NOTES_MS = 60_000  # between two writes of `seen_at`


class _Known(msgspec.Struct, frozen=True):
    """A session as this process has read it. `record` is None if the store has no such session."""

    record: SessionRecord | None
    until_s: float


class Sessions:
    """The sessions of a store.

    Args:
        token: EVERPOST_TOKEN; None if it is not set. Digests of cookies are made with it, so a new token ends all
            sessions.
    """

    def __init__(self, keys: Keys, directory: KeyDirectory, clock: Clock, token: str | None) -> None:
        self._keys = keys
        self._directory = directory
        self._clock = clock
        self._salt = token or ""
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def begin(self, caller: Caller) -> str:
        """Begin a session of a caller; the value of its cookie.

        Raises:
            Unavailable: The store cannot be written.
        """
        cookie, now_ms = secrets.token_urlsafe(32), self._clock()
        record = SessionRecord(
            digest=self._digest_of(cookie),
            key_id=caller.key_id,
            name=caller.name,
            role=caller.role,
            created_at=to_text(now_ms),
            expires_at=to_text(now_ms + SESSION_MS),
            seen_at=to_text(now_ms),
        )
        await self._keys.begin_session(record)
        log.info("session.begun", name=caller.name, role=caller.role, key_id=caller.key_id)
        return cookie

    async def find(self, cookie: str) -> Caller | None:
        """Who sends a cookie; None if its session has ended or expired, or its key is not valid any more.

        Raises:
            Unavailable: The store cannot be read.
        """
        record = await self._record_of(self._digest_of(cookie))
        now_ms = self._clock()
        if record is None or to_text(now_ms) >= record.expires_at:
            return None
        caller = record.caller if record.key_id is None else self._directory.find_id(record.key_id)
        if caller is None:
            return None
        await self._note_seen(record, now_ms)
        return msgspec.structs.replace(caller, in_session=True)

    async def end(self, cookie: str) -> None:
        """End a session. Other processes know it within `REFRESH_S`.

        Raises:
            Unavailable: The store cannot be written.
        """
        digest = self._digest_of(cookie)
        await self._keys.end_session(digest)
        self._known.pop(digest, None)

    def _digest_of(self, cookie: str) -> str:
        return digest_of(f"{cookie}\n{self._salt}")

    async def _record_of(self, digest: str) -> SessionRecord | None:
        known = self._known.get(digest)
        if known is None or known.until_s < monotonic():
            known = _Known(await self._keys.find_session(digest), monotonic() + REFRESH_S)
            self._known[digest] = known
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return known.record

    async def _note_seen(self, record: SessionRecord, now_ms: int) -> None:
        seen_ms = from_text(record.seen_at) or 0
        if now_ms - seen_ms < BETWEEN_NOTES_MS:
            return
        with suppress(ServiceError):  # the request is served even if the note cannot be written
            await self._keys.note_session(record.digest, to_text(now_ms))
        self._known.pop(record.digest, None)
