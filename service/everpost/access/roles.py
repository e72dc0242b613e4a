"""Roles, the rights that a role has, and the caller of a request."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta


class Right(StrEnum):
    """What a route needs."""

    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


class Role(StrEnum):
    """What a key is for. Each role has the rights of those before it, and one more."""

    VIEWER = "viewer"
    PUBLISHER = "publisher"
    OPERATOR = "operator"
    ADMIN = "admin"


RIGHTS_OF_ROLE: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.READ}),
        Role.PUBLISHER: frozenset({Right.READ, Right.SUBMIT}),
        Role.OPERATOR: frozenset({Right.READ, Right.SUBMIT, Right.OPERATE}),
        Role.ADMIN: frozenset(Right),
    }
)

ANONYMOUS = "anonymous"  # the caller's name as long as neither a token nor a key is set
TOKEN = "token"  # noqa: S105 - the name of the caller that sends EVERPOST_TOKEN


class KeyRate(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a key may make: `count` at once, and as many again in each `per_s` seconds."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    per_s: Annotated[float, Meta(gt=0, le=86_400)]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a request.

    Attributes:
        name: The key's name; `token` for EVERPOST_TOKEN; `anonymous` while neither a token nor a key is set.
        platforms: Names of the platforms to which the key is limited; None is all.
        accounts: (platform, account) pairs to which the key is limited, besides `platforms`; None is all.
        key_id: The key's id; None for a caller without a key.
        rate: How many requests it may make; None is no limit.
        in_session: The cookie of a session of the console came with the request.
    """

    name: str
    role: Role
    platforms: frozenset[str] | None = None
    accounts: frozenset[tuple[str, str]] | None = None
    key_id: str | None = None
    rate: KeyRate | None = None
    in_session: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it has a name of its own, by a key or an identity provider."""
        return self.name not in {ANONYMOUS, TOKEN}

    @property
    def rights(self) -> frozenset[Right]:
        """What the caller may do."""
        return RIGHTS_OF_ROLE[self.role]

    @property
    def submits_as(self) -> str | None:
        """The name that its tasks and uploads have; None while neither a token nor a key is set."""
        return None if self.name == ANONYMOUS else self.name

    @property
    def is_limited(self) -> bool:
        """Whether the caller has a scope, so that it sees some platforms or accounts only."""
        return self.platforms is not None or self.accounts is not None

    def may_reach(self, platform: str, account_id: str | None) -> bool:
        """Whether the account of a platform is in the caller's scope; None asks about the whole platform."""
        if not self.is_limited or (self.platforms is not None and platform in self.platforms):
            return True
        return account_id is not None and (platform, account_id) in (self.accounts or ())


ANONYMOUS_ADMIN = Caller(name=ANONYMOUS, role=Role.ADMIN)
"""The caller as long as neither a token nor a key is set."""
WITH_TOKEN = Caller(name=TOKEN, role=Role.ADMIN)
"""The caller that sends EVERPOST_TOKEN."""
