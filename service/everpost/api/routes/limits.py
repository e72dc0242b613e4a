"""Limits of platforms and accounts, and pausing and resuming them by hand."""

from typing import Annotated

import msgspec
from litestar import get, post, put
from msgspec import Meta

from everpost.access import Right
from everpost.actions.limits import ShownScope
from everpost.api.http.audited import audited, by_of, note_of
from everpost.api.http.bodies import read_object
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_reach
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import InvalidValue
from everpost.limits import Limits, Scope, named_in
from everpost.printable import is_printable
from everpost.task.holds import ScopeState, Words

Account = Annotated[str, Meta(min_length=1, max_length=256)]
PlatformKey = Annotated[int | str, Meta(description="A platform's id, name or alias.")]

LIMIT_EXAMPLES = {
    "One post at a time, at most 10 an hour": {
        "platform": "douyin",
        "account_id": "shop",
        "limits": {"concurrency": 1, "rates": [{"count": 10, "per_s": 3600}]},
    },
    "Each account, 50 a day, a minute apart": {
        "platform": "douyin",
        "each_account": True,
        "limits": {"gap_s": 60, "daily": 50},
    },
    "Back to the catalogue's limits": {"platform": "douyin", "limits": None},
}
PAUSE_EXAMPLES = {
    "A platform": {"platform": "douyin", "reason": "Their API is down.", "by": "mei"},
    "An account": {"platform": "douyin", "account_id": "shop", "reason": "It is being verified.", "by": "mei"},
}
RESUME_EXAMPLES = {"A platform": {"platform": "douyin"}, "An account": {"platform": "douyin", "account_id": "shop"}}


class ScopeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request is about: an account of a platform, a platform, or, without a platform, everything."""

    platform: PlatformKey | None = None
    account_id: Account | None = None


class LimitsBody(ScopeBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of an account, of each account of a platform, of a platform, or, without a platform, of everything.

    Attributes:
        limits: Replace those that hold; null goes back to the catalogue's, an empty object sets no limit.
    """

    each_account: bool = False
    limits: Limits | None


class PauseBody(ScopeBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be paused, why, and who wants it. Without a platform: everything."""

    reason: Annotated[Words, Meta(min_length=1)]
    by: Words | None = None


class ResumeBody(ScopeBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be resumed. Without a platform: everything, if everything was paused."""


class LimitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All scopes that have a limit, are held, or have tasks behind them.

    Attributes:
        parked: How many tasks wait for them; null if Redis does not answer.
    """

    success: bool
    parked: int | None
    data: list[ShownScope]


class ScopeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The scope as it is now."""

    success: bool
    message: str
    scope: Scope
    data: ScopeState


@get(
    "/limits",
    summary="Show limits",
    description="The limits of platforms and accounts, what is paused or held, and how many tasks wait for it.",
    tags=["Limits"],
    opt=needs(Right.READ, scoped=True),
    **documented(LimitsAnswer, description="The limits."),
)
async def show_limits(request: ApiRequest) -> JsonAnswer:
    """Answer with all scopes."""
    shown = await services_of(request).limits.show()
    caller = caller_of(request)
    found = [one for one in shown.scopes if caller.may_reach(*named_in(one.scope))]
    return JsonAnswer(LimitsAnswer(success=True, parked=None if caller.is_limited else shown.parked, data=found))


@put(
    "/limits",
    summary="Set limits",
    description="Sets the limits of a scope in place of the catalogue's, for all workers within a second. Tasks that "
    "run go on. A task that has to wait spends no attempt.",
    tags=["Limits"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        ScopeAnswer,
        description="The limits hold.",
        refusals=("unknown_platform",),
        body=Body("The limits.", {JSON: LimitsBody}, LIMIT_EXAMPLES),
    ),
)
@audited
async def set_limits(request: ApiRequest) -> JsonAnswer:
    """Set the limits of a scope."""
    services = services_of(request)
    body = await read_object(request, LimitsBody, services.settings.max_body)
    if body.each_account and (body.platform is None or body.account_id is not None):
        raise InvalidValue("It needs a platform, and no account.", "$.each_account")
    scope = _scope_of(services, body, each_account=body.each_account)
    need_reach(caller_of(request), *named_in(scope), path="$.platform")
    state = await services.limits.set_limits(scope, body.limits)
    note_of(request).about(scope, limits=msgspec.to_builtins(body.limits))
    return JsonAnswer(ScopeAnswer(success=True, message="Limits set", scope=scope, data=state))


@post(
    "/limits/pause",
    summary="Pause a platform or an account",
    description="Lets no task of it begin, until it is resumed. Its tasks are accepted meanwhile and wait; tasks that "
    "run go on.",
    tags=["Limits"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        ScopeAnswer,
        description="It is paused, or held already.",
        refusals=("unknown_platform",),
        body=Body("What is to be paused, and why.", {JSON: PauseBody}, PAUSE_EXAMPLES),
    ),
)
@audited
async def pause_scope(request: ApiRequest) -> JsonAnswer:
    """Pause a scope."""
    services = services_of(request)
    body = await read_object(request, PauseBody, services.settings.max_body)
    scope = _scope_of(services, body)
    need_reach(caller_of(request), *named_in(scope), path="$.platform")
    for name, words in (("reason", body.reason), ("by", body.by)):
        if not is_printable(words or ""):
            raise InvalidValue("It contains characters that control a terminal or are invisible.", f"$.{name}")
    state = await services.limits.pause(scope, body.reason, by_of(caller_of(request), body.by))
    note_of(request).about(scope, by=body.by, why=body.reason)
    return JsonAnswer(ScopeAnswer(success=True, message="Paused", scope=scope, data=state))


@post(
    "/limits/resume",
    summary="Resume a platform or an account",
    description="Lets its tasks begin again, within its limits. Repeating this changes nothing.",
    tags=["Limits"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        ScopeAnswer,
        description="It is not paused any more.",
        refusals=("unknown_platform",),
        body=Body("What is to be resumed.", {JSON: ResumeBody}, RESUME_EXAMPLES),
    ),
)
@audited
async def resume_scope(request: ApiRequest) -> JsonAnswer:
    """Resume a scope."""
    services = services_of(request)
    body = await read_object(request, ResumeBody, services.settings.max_body)
    scope = _scope_of(services, body)
    need_reach(caller_of(request), *named_in(scope), path="$.platform")
    state = await services.limits.resume(scope)
    note_of(request).about(scope)
    return JsonAnswer(ScopeAnswer(success=True, message="Resumed", scope=scope, data=state))


def _scope_of(services: Services, body: ScopeBody, *, each_account: bool = False) -> Scope:
    """The scope that a request names.

    Raises:
        InvalidValue: It has an account without a platform, or one that no task can have; `path` says which.
    """
    if body.account_id is not None and body.platform is None:
        raise InvalidValue("An account is that of a platform.", "$.platform")
    if "\0" in (body.account_id or ""):
        raise InvalidValue("The text contains the character NUL.", "$.account_id")
    return services.limits.scope_of(body.platform, body.account_id, each_account=each_account)
