"""Addresses of Redis without their secrets, for people and logs."""

from urllib.parse import parse_qsl, urlencode

HIDDEN = "***"
PLAIN = frozenset({"db", "protocol", "client_name", "socket_timeout", "socket_connect_timeout", "max_connections"})
"""Parameters of an address that are no secrets."""
NAMED = PLAIN | {"password", "username"}
"""Parameters whose names are shown; others may be the rest of a password that has `&` in it."""


def shown_address(address: str) -> str:
    """An address with user, password and the values of parameters hidden, whichever way it is written.

    `redis://user:password@host/0`, `redis://host/0?password=...` and `unix:///path?password=...` are the usual ones. A
    password that is not percent-encoded may make an address ambiguous; then only its scheme is shown.
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
