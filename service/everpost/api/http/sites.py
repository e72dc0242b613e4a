"""What a web page of somebody else can make a browser send is refused: a browser reaches what its user does.

Two ways are closed. A page sends a request of its own to us (cross-site request forgery): whatever changes something is
refused if the browser names another origin. Or a page's own name is made to lead to us (DNS rebinding), so that the
browser takes us for the page's own server: without a token, only names that no stranger can have are answered to.
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
    """Knows the names under which the API is reached, and refuses what comes by others or from other sites.

    Without a token the Host must be loopback's, or one of `EVERPOST_ALLOWED_HOSTS`. Where others are served without one
    on purpose, it may be an address, or a name only a private network has, too: no stranger's page has such an origin.
    """

    def __init__(self, settings: Settings) -> None:
        self._asks_for_token = settings.token is not None
        self._serves_others = settings.insecure
        self._allowed = frozenset(settings.allowed_host_names)
        own = {settings.host, socket.gethostname()} if settings.insecure else ()
        self._names = self._allowed | {name.lower() for name in own}
        self._is_known = lru_cache(maxsize=256)(self._is_own_name)

    def check(self, method: str, headers: Headers) -> None:
        """Let the request through.

        Raises:
            ForeignHost: No token is asked for, and the request came by a name that may be a stranger's.
            ForeignOrigin: It would change something, and a browser sends it for another site.
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
            return  # the browser has compared, and knows under which name it reached a proxy before us
        origin = headers.get(b"origin")
        if origin is not None and not is_same_origin(origin, host or b"", self._allowed):
            raise ForeignOrigin(_shown(origin))

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

    The scheme is not compared: a proxy before us may have ended TLS.
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
