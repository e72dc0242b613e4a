"""Finds out who sends a request: by EVERPOST_TOKEN, an API key, or the cookie of a session of the console."""

from everpost.access import NOBODY_ASKED, Caller
from everpost.api.http.audited import Refusals
from everpost.api.http.bodies import Headers
from everpost.api.http.cookies import cookie_of
from everpost.api.http.rights import PUBLIC, admit
from everpost.api.http.sites import SiteCheck
from everpost.api.services import ApiRequest, services_of
from everpost.errors import Forbidden, Unauthorized


async def check_caller(request: ApiRequest, headers: Headers, sites: SiteCheck, refusals: Refusals) -> None:
    """Return if the request may be served; its caller is remembered for `caller_of`.

    Raises:
        Unauthorized: Its token, key or cookie is missing or not valid.
        Forbidden: The caller's role may not do this.
        ForeignOrigin: It comes with a cookie, would change something, and does not prove where it comes from.
    """
    if request.route_handler.opt.get(PUBLIC):
        return
    directory = services_of(request).keys.directory
    if directory.is_open:
        admit(request, NOBODY_ASKED)
        return
    if b"authorization" in headers:
        scheme, _, secret = headers[b"authorization"].partition(b" ")
        caller = directory.find(secret.strip()) if scheme.title() == b"Bearer" else None
    else:
        caller = await _caller_in_session(request, headers, sites)
    if caller is None:
        raise Unauthorized
    try:
        admit(request, caller)
    except Forbidden as error:
        await refusals.keep(request, error.code)
        raise


async def _caller_in_session(request: ApiRequest, headers: Headers, sites: SiteCheck) -> Caller | None:
    cookie = cookie_of(headers)
    if cookie is None:
        return None
    caller = await services_of(request).sessions.find(cookie)
    if caller is not None:
        sites.check_proof(request.scope["method"], headers)
    return caller
