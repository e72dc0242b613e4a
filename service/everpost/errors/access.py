"""Requests that may not be served to this caller."""

from types import MappingProxyType

from everpost.errors.base import SHOWN_CHARACTERS, ServiceError
from everpost.errors.requests import InvalidValue
from everpost.errors.unavailable import Unavailable

RIGHT_WORDS = MappingProxyType(
    {"read": "read", "submit": "submit tasks", "operate": "change tasks of others", "admin": "administer"}
)


class ForeignHost(ServiceError):
    """No token is set, and the request's `Host` is neither loopback nor in `EVERPOST_ALLOWED_HOSTS`."""

    code = "foreign_host"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"As no EVERPOST_TOKEN is set, requests for the host {host!r} are refused. Use localhost, set a token, "
            "or add the host to EVERPOST_ALLOWED_HOSTS."
        )


class ForeignOrigin(ServiceError):
    """A browser sent the request for a page of another site, which may not change anything."""

    code = "foreign_origin"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"A page of another site ({origin}) may not change anything here. If the site is yours, add its host to "
            "EVERPOST_ALLOWED_HOSTS."
        )


class Unauthorized(ServiceError):
    """The token or API key is missing, wrong, revoked or expired."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("Send EVERPOST_TOKEN or an API key as 'Authorization: Bearer …'.")


class Forbidden(ServiceError):
    """The caller is known, and its role may not do this."""

    code = "forbidden"

    def __init__(self, name: str, role: str, right: str) -> None:
        super().__init__(
            f"{name!r} has the role {role}, which has no right to {RIGHT_WORDS[right]}; use a key with another role."
        )


class OutOfScope(InvalidValue):
    """The caller's key does not reach this platform or account, or the route is about everything."""

    code = "out_of_scope"

    def __init__(self, name: str, path: str = "$") -> None:
        super().__init__(
            f"The key of {name!r} is limited to some platforms or accounts, and does not reach this; use another key.",
            path,
        )


class RateLimited(ServiceError):
    """The API key has sent more requests than its rate allows; try again after `Retry-After` seconds."""

    code = "rate_limited"

    def __init__(self, name: str, retry_after_s: int) -> None:
        super().__init__(f"The key of {name!r} has made too many requests; the next one may come in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class SignInRefused(ServiceError):
    """The identity provider or the settings refuse this person."""

    code = "sign_in_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"Signing in has failed: {why}.")


class SignInUnavailable(Unavailable):
    """The identity provider does not answer."""

    code = "sign_in_unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"The identity provider cannot be used now: {why}.")


class ApiKeyNotFound(ServiceError):
    """There is no such API key."""

    code = "key_not_found"

    def __init__(self, named: str, found: int = 0) -> None:
        several = f"{found} valid keys have the name {named[:SHOWN_CHARACTERS]!r}; say which by its id or prefix."
        super().__init__(
            several if found > 1 else f"There is no API key {named[:SHOWN_CHARACTERS]!r}; list the keys to find it."
        )


class ApiKeyExists(ServiceError):
    """A valid API key has that name."""

    code = "key_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"A valid key has the name {name!r}. Rotate it, revoke it, or choose another name.")


class LastAdminKey(ServiceError):
    """It is the last valid key of an admin, and `EVERPOST_TOKEN` is not set."""

    code = "last_admin_key"

    def __init__(self) -> None:
        super().__init__(
            "It is the last valid key of an admin, and EVERPOST_TOKEN is not set. Make another key for an admin first."
        )


class LinkRefused(ServiceError):
    """The signed address of a file is wrong or has expired."""

    code = "link_refused"

    def __init__(self) -> None:
        super().__init__("This address is not signed by Everpost, or its time is over.")
