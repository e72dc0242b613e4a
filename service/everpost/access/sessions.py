"""Sessions of the console: what a cookie stands for."""

import msgspec

from everpost.access.roles import Caller, Role

SESSION_MS = 12 * 3_600_000


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session, as it is kept. Times are text as in tables.

    Attributes:
        digest: The SHA-256 of the cookie's value, in hexadecimal.
        key_id: The key with which it was begun, whose role and scope count; None for EVERPOST_TOKEN or OpenID Connect.
        name, role: Who it is, for a session without a key.
    """

    digest: str
    key_id: str | None
    name: str
    role: Role
    created_at: str
    expires_at: str
    seen_at: str

    @property
    def caller(self) -> Caller:
        """Who sends a request in a session without a key."""
        return Caller(name=self.name, role=self.role)
