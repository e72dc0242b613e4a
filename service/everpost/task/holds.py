"""What holds tasks back without ending them: people's pauses and limits, as the store keeps them; pure functions."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.limits import Limits, Scope

NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
Words = Annotated[str, Meta(max_length=2_000, pattern=NO_CONTROL)]


class WaitKind(StrEnum):
    """Why a task waits although it is due."""

    PAUSED = "paused"  # a person paused its platform or account
    HELD = "held"  # its account needs a person first
    RATE_LIMITED = "rate_limited"  # the platform answered that its account is too fast
    TRIAL = "trial"  # after that, some tasks are tried first
    CONCURRENCY = "concurrency"  # as many as may run at once do so
    RATE = "rate"
    GAP = "gap"
    DAILY = "daily"
    TURN = "turn"  # other tasks wait for the same limit, and go first
    REBUILDING = "rebuilding"  # Redis was emptied, and what runs is being counted anew


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A scope from which nothing begins until a person resumes it.

    Attributes:
        kind: `paused` or `held`.
        reason: Shown to people.
        by: Who paused it; None if Everpost did.
        since: UTC text.
    """

    kind: WaitKind
    reason: str
    since: str
    by: str | None = None


class ScopeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the store keeps of one scope.

    Attributes:
        limits: In place of the catalogue's; None leaves the catalogue's.
        hold: None while tasks may begin.
    """

    limits: Limits | None = None
    hold: Hold | None = None


NOTHING_SET = ScopeState()

ChangeScope = Callable[[ScopeState], ScopeState]
"""The rule of a change: the state that follows the stored one. Pure; it may be called twice."""


def with_limits(limits: Limits | None) -> ChangeScope:
    """Set the limits, or go back to the catalogue's."""
    return lambda state: msgspec.structs.replace(state, limits=limits)


def with_hold(hold: Hold) -> ChangeScope:
    """Hold the scope. A pause of a person is not replaced by a hold of Everpost, nor the reverse."""
    return lambda state: state if state.hold is not None else msgspec.structs.replace(state, hold=hold)


def held_by(hold: Hold) -> ChangeScope:
    """Hold the scope, in place of another hold."""
    return lambda state: msgspec.structs.replace(state, hold=hold)


def without_hold(kind: WaitKind | None = None) -> ChangeScope:
    """End the hold, or only one of this kind."""

    def change(state: ScopeState) -> ScopeState:
        if state.hold is None or (kind is not None and state.hold.kind != kind):
            return state
        return msgspec.structs.replace(state, hold=None)

    return change


class WaitsFor(msgspec.Struct, frozen=True, kw_only=True):
    """What a task waits for.

    Attributes:
        scope: `*`, a platform, or `PLATFORM/ACCOUNT`.
        until: UTC text: when it may go on at the earliest; None if that is not known.
    """

    kind: WaitKind
    scope: Scope
    reason: str | None = None
    until: str | None = None


def write_state(state: ScopeState) -> str:
    """The state as the store keeps it."""
    return msgspec.json.encode(state).decode()


def read_state(text: str | None) -> ScopeState:
    """The stored state. One that cannot be read, which a newer Everpost may have written, holds its scope."""
    if text is None:
        return NOTHING_SET
    try:
        return msgspec.json.decode(text, type=ScopeState)
    except (msgspec.DecodeError, UnicodeError):
        return ScopeState(hold=Hold(kind=WaitKind.HELD, reason="Its stored limits cannot be read.", since=""))


def holds_of(states: Mapping[Scope, ScopeState]) -> dict[Scope, Hold]:
    """The scopes that are held."""
    return {scope: state.hold for scope, state in states.items() if state.hold is not None}
