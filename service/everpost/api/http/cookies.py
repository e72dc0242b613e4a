"""The cookie of a session of the console."""

from everpost.access import SESSION_MS
from everpost.api.http.bodies import Headers

COOKIE = "everpost_session"


def cookie_of(headers: Headers) -> str | None:
    """The session's cookie; None if the request has none."""
    return cookie_named(COOKIE, headers)


def cookie_named(wanted: str, headers: Headers) -> str | None:
    """The value of a cookie; None if the request has none of that name.

    Other applications of the same host set cookies too, with any characters, so each one is read by itself. Of several
    with this name, the first counts: browsers send that of the longest path first (RFC 6265, 5.4).
    """
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value
    return None


def set_cookie(headers: Headers, value: str, *, is_secure: bool = False) -> str:
    """The header `Set-Cookie` that begins a session in the browser; an empty value ends it.

    Without a Path it holds below the address of the login, wherever a proxy puts that (RFC 6265, 5.1.4).

    Args:
        is_secure: It is only sent over TLS, also if `is_over_tls` cannot tell.
    """
    lasts_s = SESSION_MS // 1000 if value else 0
    parts = [f"{COOKIE}={value}", f"Max-Age={lasts_s}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if is_secure or is_over_tls(headers) else parts)


def is_over_tls(headers: Headers) -> bool:
    """Whether the browser has reached this page over TLS, so that a cookie need not be sent without it.

    `Origin` is what the browser itself says of that; `X-Forwarded-Proto` is what proxies say, the first one first.
    A client that forges one only keeps the cookie from itself.
    """
    said = headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip()
    return said == b"https" or headers.get(b"origin", b"").startswith(b"https:")
