"""Finds out who sends a request: by EVERPOST_TOKEN, an API key, or the cookie of a session of the console."""

from typing import NamedTuple

from everpost.access import Caller, Role
from everpost.api.http.audited import Refusals
from everpost.api.http.bodies import Headers
from everpost.api.http.cookies import cookie_of
from everpost.api.http.rates import OwnRates, take_turn
from everpost.api.http.reach import check_own, check_reach
from everpost.api.http.rights import PUBLIC, admit
from everpost.api.http.sites import SiteCheck
from everpost.api.services import ApiRequest, services_of
from everpost.errors import Forbidden, OutOfScope, Unauthorized


class Guards(NamedTuple):
    """What an application remembers of its callers' requests."""

    sites: SiteCheck
    refusals: Refusals
    rates: OwnRates


async def check_caller(request: ApiRequest, headers: Headers, guards: Guards) -> None:
    """Return if the request may be served; its caller is remembered for `caller_of`.

    Raises:
        Unauthorized: Its token, key or cookie is missing or not valid.
        Forbidden: The caller's role may not do this.
        OutOfScope, TaskNotFound: The caller's key does not reach it; see `check_reach`.
        RateLimited: The caller's key has made too many requests.
        ForeignOrigin: It comes with a cookie, would change something, and does not prove where it comes from.
    """
    # `caller_of` gives requests that return here a caller that may do everything.
    if request.route_handler.opt.get(PUBLIC):  # first: these are served also before there are services
        return
    directory = services_of(request).keys.directory
    if directory.is_open:
        return
    if b"authorization" in headers:
        scheme, _, secret = headers[b"authorization"].partition(b" ")
        caller = directory.find(secret.strip()) if scheme.title() == b"Bearer" else None
    else:
        caller = await _caller_in_session(request, headers, guards.sites)
    if caller is None:
        raise Unauthorized
    if caller.rate is not None:
        await take_turn(request, caller, guards.rates)
    try:
        admit(request, caller)
        if caller.is_limited:
            await check_reach(request, caller)
        if caller.role is Role.PUBLISHER:
            await check_own(request, caller)
    except (Forbidden, OutOfScope) as error:
        await guards.refusals.keep(request, error.code)
        raise


async def _caller_in_session(request: ApiRequest, headers: Headers, sites: SiteCheck) -> Caller | None:
    cookie = cookie_of(headers)
    if cookie is None:
        return None
    caller = await services_of(request).sessions.find(cookie)
    if caller is not None:
        sites.check_proof(request.scope["method"], headers)
    return caller
