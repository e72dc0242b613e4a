"""Limits of a platform or an account, as the catalogue and people set them, and the scopes that have them; no I/O."""

from hashlib import sha256
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

MOST_OF_RATE = 10_000  # posts of one rate: Redis keeps the time of each
LONGEST_S = 2_678_400  # 31 days: what was sent is remembered for so long
LONGEST_ACCOUNT = 256  # characters of an account in a key

EVERYTHING = "*"
"""The scope of all tasks."""

Scope: TypeAlias = str
"""What a limit is about: `*`, a platform's name, or a lane, which is `PLATFORM/ACCOUNT`."""


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `count` attempts begin within any `per_s` seconds."""

    count: Annotated[int, Meta(ge=1, le=MOST_OF_RATE)]
    per_s: Annotated[float, Meta(ge=0.001, le=LONGEST_S)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The limits of one scope; None is no limit.

    Attributes:
        concurrency: How many attempts may run at once.
        rates: How many may begin within a time; all of them hold.
        gap_s: The least time between the beginnings of two attempts.
        daily: How many may begin on a day, from midnight to midnight in the account's time zone.
    """

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    rates: Annotated[tuple[Rate, ...], Meta(max_length=8)] = ()
    gap_s: Annotated[float, Meta(ge=0.001, le=LONGEST_S)] | None = None
    daily: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    @property
    def counts_uses(self) -> bool:
        """Whether it matters which attempts began earlier."""
        return bool(self.rates) or self.gap_s is not None or self.daily is not None

    @property
    def memory_s(self) -> float:
        """For how many seconds rates and the gap remember an attempt; 0 if there is neither."""
        return max([self.gap_s or 0.0, *(rate.per_s for rate in self.rates)])


NO_LIMITS = Limits()


def lane_of(platform: str, account_id: str) -> Scope:
    """The scope of an account: the tasks of one account wait in one lane. A long account is shortened to a digest."""
    if len(account_id) > LONGEST_ACCOUNT:
        account_id = f"sha256-{sha256(account_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{platform}/{account_id}"


def named_in(scope: Scope) -> tuple[str, str | None]:
    """The platform and the account that a scope is about; None is the whole platform. Everything has the name `*`."""
    platform, slash, account_id = scope.removeprefix("/").partition("/")
    return platform, account_id if slash else None


def platform_of(lane: Scope) -> Scope:
    """The platform of a lane. A platform's name has no slash."""
    return lane.partition("/")[0]
