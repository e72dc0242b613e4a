"""Checks the bearer token, if one is set."""

import hmac

from everpost.access import NOBODY_ASKED, WITH_TOKEN
from everpost.api.http.bodies import Headers
from everpost.api.http.rights import PUBLIC, admit
from everpost.api.services import ApiRequest
from everpost.errors import Unauthorized


class TokenCheck:
    """Knows the token that every request needs, except for `PUBLIC` routes; None means that no token is needed."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else b"Bearer " + token.encode()

    def check(self, request: ApiRequest, headers: Headers) -> None:
        """Return if the request may be served; its caller is remembered for `caller_of`.

        Raises:
            Unauthorized: Its token is missing or wrong.
            Forbidden: The caller's role may not do this.
        """
        if request.route_handler.opt.get(PUBLIC):
            return
        if self._expected is None:
            admit(request, NOBODY_ASKED)
            return
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if not hmac.compare_digest(scheme.title() + b" " + credentials.strip(), self._expected):
            raise Unauthorized
        admit(request, WITH_TOKEN)
