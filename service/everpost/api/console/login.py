"""Signing in to the console with a key or the token, and signing out."""

import re
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from everpost.access import Caller, Role
from everpost.api.console.forms import FORM
from everpost.api.http.audited import note_of
from everpost.api.http.bodies import Headers, headers_of, is_json, media_type_of, read_body
from everpost.api.http.cookies import cookie_of, set_cookie
from everpost.api.http.json_answer import BareAnswer, JsonAnswer
from everpost.api.http.rights import PUBLIC, remember
from everpost.api.http.sites import SiteCheck
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import Unauthorized, UnsupportedMedia
from everpost.task.submission import decode_json, invalid_value

MOST_BYTES = 8_192
OWN_PLACE = re.compile(r"(?![/'\"])[^\s\\:\x00-\x1f]*")
"""An address relative to that of the login: it leads to this server, below any base path.

`_page_to` writes it where a browser would take quotes away, and a slash could then be the first character.
"""


class LoginForm(msgspec.Struct, frozen=True, kw_only=True):
    """What signs in, and the page to go to then."""

    key: str = ""
    next: str = ""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in; the cookie of the session comes with it."""

    success: bool
    name: str
    role: Role


@get("/login", include_in_schema=False, opt={PUBLIC: True})
async def show_login(
    request: ApiRequest, next_page: Annotated[str, QueryParameter(name="next", max_length=2_000)] = ""
) -> JsonAnswer:
    """Answer with the page that asks for a key."""
    return login_page(request, next_page)


@post("/login", include_in_schema=False, opt={PUBLIC: True})
async def log_in(request: ApiRequest) -> JsonAnswer:
    """Begin a session. A form leads to the page that was wanted; JSON is answered with who is signed in."""
    services, headers = services_of(request), headers_of(request)
    SiteCheck(services.settings).check_proof("POST", headers)
    form = await _form_in(request, headers)
    caller = services.keys.directory.find(form.key.encode())
    if caller is None and is_json(media_type_of(headers)):
        raise Unauthorized
    if caller is None:
        return login_page(request, form.next, is_refused=True, status=401)
    return await signed_in(request, services, caller, form.next)


@post("/logout", include_in_schema=False, opt={PUBLIC: True})
async def log_out(request: ApiRequest) -> JsonAnswer:
    """End the session of the cookie that came, and go to the login."""
    services, headers = services_of(request), headers_of(request)
    SiteCheck(services.settings).check_proof("POST", headers)
    if (cookie := cookie_of(headers)) is not None and (caller := await services.sessions.find(cookie)) is not None:
        await services.sessions.end(cookie)
        remember(request, caller)
        await services.store.audit.add(note_of(request).row())
    given = {"set-cookie": set_cookie(headers, ""), "cache-control": "no-store"}
    if is_json(media_type_of(headers)):
        return BareAnswer(204, given)
    return BareAnswer(303, {**given, "location": "login", "content-length": "0"})


async def signed_in(request: ApiRequest, services: Services, caller: Caller, next_page: str) -> JsonAnswer:
    """Begin the session of a caller, and lead the browser to the page that was wanted."""
    given = {"set-cookie": await begin_session(request, services, caller), "cache-control": "no-store"}
    if is_json(media_type_of(headers_of(request))):
        return JsonAnswer(SignedIn(success=True, name=caller.name, role=caller.role), headers=given)
    return BareAnswer(303, {**given, "location": own_place(next_page), "content-length": "0"})


async def begin_session(request: ApiRequest, services: Services, caller: Caller, *, is_secure: bool = False) -> str:
    """Begin the session of a caller, and keep that in the audit; the header `Set-Cookie` of the answer."""
    cookie = await services.sessions.begin(caller)
    remember(request, msgspec.structs.replace(caller, in_session=True))
    await services.store.audit.add(note_of(request).row())
    return set_cookie(headers_of(request), cookie, is_secure=is_secure)


def own_place(wanted: str) -> str:
    """The page to go to after the login, relative to it; the first page if `wanted` may be of another server."""
    return wanted if wanted and OWN_PLACE.fullmatch(wanted) and wanted.isascii() else "./"


def login_page(request: ApiRequest, next_page: str, *, is_refused: bool = False, status: int = 200) -> JsonAnswer:
    """The page that asks for a key."""
    from everpost.api.console.pages.login import login_page as page  # noqa: PLC0415 - pages are loaded when asked for

    return page(request, next_page, is_refused=is_refused, status=status)


async def _form_in(request: ApiRequest, headers: Headers) -> LoginForm:
    """The form in a body.

    Raises:
        UnsupportedMedia, BodyTooLarge, MalformedJson, InvalidValue: The body has no such form.
    """
    body = await read_body(request, headers, MOST_BYTES)
    if is_json(media_type_of(headers)):
        try:
            return msgspec.convert(decode_json(body), LoginForm)
        except msgspec.ValidationError as error:
            raise invalid_value(error) from error
    if media_type_of(headers) != FORM:
        raise UnsupportedMedia(FORM)
    given = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return LoginForm(key=given.get("key", "").strip(), next=given.get("next", ""))
