"""The cookie of a session of the console."""

from http.cookies import CookieError, SimpleCookie

from everpost.access import SESSION_MS
from everpost.api.http.bodies import Headers

COOKIE = "everpost_session"


def cookie_of(headers: Headers) -> str | None:
    """The session's cookie; None if the request has none."""
    given = headers.get(b"cookie")
    if given is None:
        return None
    try:
        found = SimpleCookie(given.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def set_cookie(headers: Headers, value: str) -> str:
    """The header `Set-Cookie` that begins a session in the browser; an empty value ends it.

    Without a Path it holds below the address of the login, wherever a proxy puts that (RFC 6265, 5.1.4).

    It is only sent over TLS if the browser has reached this page so. `Origin` is what the browser itself says of that;
    `X-Forwarded-Proto` is what a proxy says. Whoever forges one only keeps the cookie from himself.
    """
    is_secure = headers.get(b"origin", b"").startswith(b"https:") or headers.get(b"x-forwarded-proto") == b"https"
    lasts_s = SESSION_MS // 1000 if value else 0
    parts = [f"{COOKIE}={value}", f"Max-Age={lasts_s}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if is_secure else parts)
