"""Signing in to the console by an identity provider: there, and back."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from html import escape
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.exceptions import NotFoundException
from litestar.params import QueryParameter

from everpost.access import Caller
from everpost.access.claims import read_rules, role_of
from everpost.access.keys import LONGEST_NAME, RESERVED_NAMES
from everpost.api.console.answers import PageAnswer
from everpost.api.console.login import begin_session, own_place
from everpost.api.http.bodies import Headers, headers_of
from everpost.api.http.cookies import cookie_named, is_over_tls
from everpost.api.http.json_answer import BareAnswer, JsonAnswer
from everpost.api.http.parameters import PARAMETERS
from everpost.api.http.rights import PUBLIC
from everpost.api.oidc.provider import Attempt, Provider
from everpost.api.services import ApiRequest, services_of
from everpost.errors import SignInRefused
from everpost.printable import is_printable

COOKIE = "everpost_oidc"
ATTEMPT_S = 600
SECRET_BYTES = 32


@get("/oidc", include_in_schema=False, opt={PUBLIC: True})
async def begin_oidc(
    request: ApiRequest, next_page: Annotated[str, QueryParameter(name="next", max_length=2_000)] = ""
) -> JsonAnswer:
    """Send the browser to the identity provider."""
    provider = _provider(request)
    state, nonce, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(3))
    attempt = Attempt(state, nonce, verifier, own_place(next_page))
    headers = {"location": await provider.address_for(attempt), "content-length": "0", "cache-control": "no-store"}
    return BareAnswer(303, {**headers, "set-cookie": _cookie(request, attempt)})


@get("/oidc-callback", include_in_schema=False, opt={PUBLIC: True, PARAMETERS: {"/oidc-callback": ("*",)}})
async def end_oidc(request: ApiRequest) -> JsonAnswer:
    """Begin the session of a person who comes back from the identity provider."""
    provider, headers, given = _provider(request), headers_of(request), request.query_params
    attempt, state, code = _attempt_in(headers), given.get("state", ""), given.get("code")
    if attempt is None or not secrets.compare_digest(state.encode(), attempt.state.encode()):
        raise SignInRefused("it was not begun in this browser, or took too long; begin again")
    if code is None or "error" in given:
        raise SignInRefused("the provider has refused")
    claims = await provider.claims_for(code, attempt, given.get("iss"))
    caller = _caller_of(request, claims)
    cookie = await begin_session(request, services_of(request), caller, is_secure=_is_secure(request))
    answer = _page_to(attempt.next_page)
    answer.add_header("set-cookie", cookie)
    answer.add_header("set-cookie", _cookie(request, None))
    return answer


def _provider(request: ApiRequest) -> Provider:
    provider = services_of(request).provider
    if provider is None:
        raise NotFoundException
    return provider


def _caller_of(request: ApiRequest, claims: Mapping[str, Any]) -> Caller:
    """The person that claims are about.

    Raises:
        SignInRefused: The settings give no role, or the name cannot be one.
    """
    settings = services_of(request).settings
    name = claims.get(settings.oidc_name)
    if not isinstance(name, str) or not 0 < len(name) <= 2 * LONGEST_NAME or not is_printable(name):
        raise SignInRefused(
            f"the provider does not give the claim {settings.oidc_name!r}, or its value cannot be a name"
        )
    if name.casefold() in RESERVED_NAMES or services_of(request).keys.directory.has_name(name):
        raise SignInRefused("an API key has this name, or it is reserved")
    if settings.oidc_name == "email" and claims.get("email_verified") is False:
        raise SignInRefused("the address is not verified")
    role = role_of(claims, read_rules(settings.oidc_roles or ""))
    if role is None:
        raise SignInRefused("EVERPOST_OIDC_ROLES gives this person no role")
    return Caller(name=name, role=role)


def _page_to(next_page: str) -> JsonAnswer:
    """A page that leads on.

    A redirection would be a part of the way from another site, on which a browser sends no cookie that is
    `SameSite=Strict`.
    """
    place = escape(own_place(next_page))
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Everpost</title>'
        f'<meta http-equiv="refresh" content="0; url={place}"><p><a href="{place}">Everpost</a></p></html>'
    )
    return PageAnswer(page)


def _cookie(request: ApiRequest, attempt: Attempt | None) -> str:
    """The header that keeps an attempt in the browser; None removes it. Lax, because it must come from another site."""
    value = "" if attempt is None else urlsafe_b64encode(msgspec.json.encode(attempt)).decode()
    parts = [f"{COOKIE}={value}", f"Max-Age={ATTEMPT_S if value else 0}", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if _is_secure(request) else parts)


def _is_secure(request: ApiRequest) -> bool:
    """Whether cookies are only sent over TLS: the provider sends browsers back to EVERPOST_PUBLIC_URL."""
    public_url = services_of(request).settings.public_url or ""
    return public_url.lower().startswith("https:") or is_over_tls(headers_of(request))


def _attempt_in(headers: Headers) -> Attempt | None:
    try:
        text = cookie_named(COOKIE, headers)
        return msgspec.json.decode(urlsafe_b64decode(text), type=Attempt) if text else None
    except (NotBase64, ValueError, msgspec.DecodeError):
        return None
