"""Checks the bearer token, if one is set."""

import hmac

from everpost.api.http.bodies import Headers
from everpost.api.services import ApiRequest
from everpost.errors import Unauthorized

PUBLIC = "is_public"
"""The `opt` of a route that needs no token."""


class TokenCheck:
    """Knows the token that every request needs, except for `PUBLIC` routes; None means that no token is needed."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else b"Bearer " + token.encode()

    def check(self, request: ApiRequest, headers: Headers) -> None:
        """Return if the request may be served.

        Raises:
            Unauthorized: Its token is missing or wrong.
        """
        if self._expected is None or request.route_handler.opt.get(PUBLIC):
            return
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if not hmac.compare_digest(scheme.title() + b" " + credentials.strip(), self._expected):
            raise Unauthorized
