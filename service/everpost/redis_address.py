"""The address of Redis as people and logs see it."""

from urllib.parse import parse_qsl, urlencode

from everpost.known_secrets import HIDDEN

PLAIN = frozenset({"db", "protocol", "client_name", "socket_timeout", "socket_connect_timeout", "max_connections"})
"""Parameters whose values are not secret."""
NAMED = PLAIN | {"password", "username", "sentinel_password", "sentinel_username"}
"""Parameters whose names are shown. Any other name may be part of a password that contains `&`."""


def shown_address(address: str) -> str:
    """The address of Redis without user, password and secret parameters.

    The usual forms are `redis://user:password@host/0`, `redis://host/0?password=...` and `unix:///path?password=...`.
    A password that is not percent-encoded may make the address ambiguous; then only its scheme is shown.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return HIDDEN
    place, mark, query = rest.partition("?")
    user, at, place = place.rpartition("@")
    if "@" in query or "#" in rest or "/" in user:
        return f"{scheme}{separator}{HIDDEN}"
    return f"{scheme}{separator}{f'{HIDDEN}@' if at else ''}{place}{mark}{_shown_query(query)}"


def _shown_query(query: str) -> str:
    given = parse_qsl(query, keep_blank_values=True)
    shown = [(name if name in NAMED else HIDDEN, value if name in PLAIN else HIDDEN) for name, value in given]
    return urlencode(shown, safe="*/:")
