"""API keys: their form, their digest, and their stored record.

A key is `evp_`, eight characters that are shown, `_`, and 43 characters of secret: 256 random bits. Only its SHA-256 is
kept. A slow hash protects passwords, which can be guessed. A key cannot be guessed, and the hash is computed for each
request.
"""

import re
import secrets
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.access.roles import Caller, KeyRate, Role

SHOWN_LENGTH = 12  # of `evp_` and the eight characters
FORM = re.compile(r"evp_[0-9a-z]{8}_[0-9A-Za-z_-]{43}")
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
LONGEST_NAME = 64
MOST_IN_A_SCOPE = 100

KeyName = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"^\w[\w .@:+/-]*$")]
RESERVED_NAMES = frozenset({"anonymous", "token", "everpost"})


class KeyScope(msgspec.Struct, frozen=True, omit_defaults=True):
    """The platforms and accounts that a key is limited to. With neither, it reaches everything.

    Attributes:
        platforms: Names of platforms.
        accounts: (platform, account) pairs, besides those platforms.
    """

    platforms: tuple[str, ...] = ()
    accounts: tuple[tuple[str, str], ...] = ()

    @property
    def is_limited(self) -> bool:
        """Whether the key reaches only some platforms or accounts."""
        return bool(self.platforms or self.accounts)


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is for; a key that replaces another has the same."""

    name: str
    role: Role
    scope: KeyScope = KeyScope()
    rate: KeyRate | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, as it is kept. Times are text as in tables.

    Attributes:
        name: Who uses it. Several keys may have one name while it is being replaced by a new one.
        prefix: Its first characters, by which people recognise it.
        digest: The SHA-256 of the whole key, in hexadecimal.
        expires_at: From then on it is refused; None is never.
        last_used_at: At most a minute older than the last request with it.
    """

    key_id: str
    name: str
    role: Role
    prefix: str
    digest: str
    scope: KeyScope = KeyScope()
    rate: KeyRate | None = None
    created_at: str
    created_by: str
    expires_at: str | None = None
    revoked_at: str | None = None
    revoked_by: str | None = None
    last_used_at: str | None = None

    def is_valid_at(self, now: str) -> bool:
        """Whether it admits a request at a time, given as text."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def terms(self) -> KeyTerms:
        """What it is for."""
        return KeyTerms(name=self.name, role=self.role, scope=self.scope, rate=self.rate)

    @property
    def caller(self) -> Caller:
        """Who sends a request with it."""
        scope = self.scope
        return Caller(
            name=self.name,
            role=self.role,
            platforms=frozenset(scope.platforms) if scope.is_limited else None,
            accounts=frozenset(scope.accounts) if scope.is_limited else None,
            key_id=self.key_id,
            rate=self.rate,
        )


def new_secret() -> str:
    """A new key, to be shown once."""
    shown = "".join(secrets.choice(LETTERS) for _ in range(8))
    return f"evp_{shown}_{secrets.token_urlsafe(32)}"


def prefix_of(key: str) -> str:
    """The part of a key that is shown."""
    return key[:SHOWN_LENGTH]


def digest_of(key: str | bytes) -> str:
    """The digest that is stored in place of a key or another random secret."""
    return sha256(key.encode() if isinstance(key, str) else key).hexdigest()
