"""Refuses requests that a web page of another site makes a browser send: a browser reaches all that its user does.

There are two attacks. A page sends its own request to Everpost (cross-site request forgery): so a request that changes
something is refused if the browser names another origin. Or a page's host name is made to point at this machine (DNS
rebinding), and the browser takes Everpost for the page's own server: so without a token, only host names that a
stranger cannot have are answered.
"""

import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from everpost.api.http.bodies import Headers
from everpost.api.http.heads import name_of_host
from everpost.errors import ForeignHost, ForeignOrigin
from everpost.settings import Settings

CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITE = frozenset({b"same-origin", b"none"})  # `none`: a person typed the address
PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".home.arpa")  # RFC 6761, 6762, 8375; ICANN for .internal
PORT_OF_SCHEME = {"http": ":80", "https": ":443"}
SHOWN = 64


class SiteCheck:
    """Knows the host names under which the API is reached, and refuses requests with other names or from other sites.

    Without a token, the Host must be loopback, or one of `EVERPOST_ALLOWED_HOSTS`. If other machines are served without
    a token on purpose, it may also be an address, or a name that only a private network has: a stranger's page cannot
    have such an origin.
    """

    def __init__(self, settings: Settings) -> None:
        self._asks_for_token = settings.token is not None
        self._serves_others = settings.insecure
        self._allowed = frozenset(settings.allowed_host_names)
        own = {settings.host, socket.gethostname()} if settings.insecure else ()
        self._names = self._allowed | {name.lower() for name in own}
        self._is_known = lru_cache(maxsize=256)(self._is_own_name)

    def check(self, method: str, headers: Headers) -> None:
        """Return if the request may be served.

        Raises:
            ForeignHost: No token is set, and the Host may be a stranger's.
            ForeignOrigin: The request would change something, and a browser sent it for another site.
        """
        host = headers.get(b"host")
        if not self._asks_for_token and host is not None and not self._is_known(host):
            raise ForeignHost(_shown(host))
        if method in CHANGES_NOTHING:
            return
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            if site not in OWN_SITE:
                raise ForeignOrigin(_shown(headers.get(b"origin", site)))
            return  # the browser has compared them, and it knows the name under which it reached a proxy
        origin = headers.get(b"origin")
        if origin is not None and not is_same_origin(origin, host or b"", self._allowed):
            raise ForeignOrigin(_shown(origin))

    def check_proof(self, method: str, headers: Headers) -> None:
        """Return if a request with a cookie may be served: a change needs proof that a page of Everpost's own sent it.

        A browser sends the cookie by itself, so a request that does not say where it comes from is refused.

        Raises:
            ForeignOrigin: It would change something, and the browser does not say that the page is of the same origin.
        """
        if method in CHANGES_NOTHING:
            return
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if site is not None and site != b"same-origin":
            raise ForeignOrigin(_shown(origin or site))
        if site is None and (origin is None or not is_same_origin(origin, headers.get(b"host", b""), self._allowed)):
            raise ForeignOrigin(_shown(origin or b"unknown"))

    def _is_own_name(self, host: bytes) -> bool:
        name = name_of_host(host)
        address = _address(name)
        if name in self._names or name == "localhost" or (address is not None and _is_loopback(address)):
            return True
        if not self._serves_others:
            return False
        return address is not None or bool(name and "." not in name) or name.endswith(PRIVATE_ENDINGS)


def is_same_origin(origin: bytes, host: bytes, allowed: Iterable[str] = ()) -> bool:
    """Whether a page of `origin` was served under the name and port of `host`, or under a name in `allowed`.

    The scheme is not compared, because a proxy may have ended TLS.
    """
    try:
        parts = urlsplit(origin.decode("ascii"))
        place = parts.netloc.lower()
    except ValueError:
        return False
    usual_port = PORT_OF_SCHEME.get(parts.scheme)
    if usual_port is None or not place:
        return False
    if name_of_host(place.encode()) in allowed:
        return True
    return place.removesuffix(usual_port) == host.decode("latin-1").lower().removesuffix(usual_port)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _shown(value: bytes) -> str:
    return value[:SHOWN].decode("latin-1")
