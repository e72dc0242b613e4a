"""The bearer token, where one is set."""

import hmac

from everpost.api.http.bodies import Headers
from everpost.api.services import ApiRequest
from everpost.errors import Unauthorized

PUBLIC = "is_public"
"""The `opt` of a route that asks for no token."""


class TokenCheck:
    """Knows the token that every request but those to `PUBLIC` routes has to bring; without one, all are welcome."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else b"Bearer " + token.encode()

    def check(self, request: ApiRequest, headers: Headers) -> None:
        """Let the request through.

        Raises:
            Unauthorized: Its token is missing or wrong.
        """
        if self._expected is None or request.route_handler.opt.get(PUBLIC):
            return
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if not hmac.compare_digest(scheme.title() + b" " + credentials.strip(), self._expected):
            raise Unauthorized
