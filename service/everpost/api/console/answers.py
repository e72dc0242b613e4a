"""The answers of the console: pages and redirections, with the headers that keep a page safe in a browser."""

from collections.abc import Mapping
from http import HTTPStatus

from everpost.api.http.json_answer import BareAnswer, JsonAnswer

HTML = "text/html; charset=utf-8"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Only what this server sends is loaded, nothing inline runs, and no other site may frame a page."""

SAFE = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with `no-referrer`, forms would lack the Origin that proves their page
    "cache-control": "no-store",
    "vary": "Accept, Accept-Language, Cookie",
}


class PageAnswer(JsonAnswer):
    """A page."""

    __slots__ = ()

    def __init__(self, html: str, status: int = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(html.encode(), status, media_type=HTML, headers={**SAFE, **(headers or {})})


class SeeOther(BareAnswer):
    """A redirection to a page after a form was sent (RFC 9110, 15.4.4).

    Args:
        where: Relative to the request's address, so that it is right behind any proxy.
        cookies: `Set-Cookie` values.
    """

    __slots__ = ()

    def __init__(self, where: str, *cookies: str) -> None:
        super().__init__(HTTPStatus.SEE_OTHER, {"location": where, "cache-control": "no-store", "content-length": "0"})
        for cookie in cookies:
            self.add_header("set-cookie", cookie)
