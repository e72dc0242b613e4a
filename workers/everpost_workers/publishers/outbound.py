"""Where a publisher may connect to: a host is resolved here, once, and the connection goes to what was checked."""

import asyncio
import ipaddress
import itertools
import socket
from collections.abc import Iterator

import httpx

from everpost.publishing import PermanentError, TransientError

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
IPV4_BITS = (1 << 32) - 1
NOT_GLOBAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # RFC 6890
        "::/96",  # RFC 4291: IPv4 addresses as they were once wrapped, loopback among them
        "::ffff:0:0:0/96",  # RFC 2765: and translated
        "64:ff9b:1::/48",  # RFC 8215: NAT64 of a network's own
        "fec0::/10",  # RFC 3879: site-local, as fc00::/7 is today
        "3fff::/20",  # RFC 9637
        "5f00::/16",  # RFC 9602
    )
)
"""What some Pythons take for global: 3.11.7 all of these, later ones fewer."""

CONNECTIONS_PER_POOL = 8

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def resolve_host(host: str, port: int, *, allow_private: bool = False) -> tuple[str, ...]:
    """The addresses of a host, in the resolver's order. Connect to these: asking again may give others.

    Raises:
        TransientError: The name cannot be resolved now.
        PermanentError: One of its addresses is not global and `allow_private` is false.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
        raise TransientError(f"{host} cannot be resolved: {getattr(error, 'strerror', None) or error}") from error
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise PermanentError(
                    f"{host} has the address {address}, which is not global; allow_private permits it."
                )
    return addresses


class SpreadTransport(httpx.AsyncBaseTransport):
    """Several small connection pools, used in turn.

    One pool of httpcore 1.0 goes through all its connections for each of them on every request: with 100 of them it
    carried 280 requests a second where pools of eight carry more than 1,000. How many run at a time, the caller limits.

    Args:
        connections: About how many requests run at a time.
    """

    def __init__(self, connections: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        # SSL_CERT_FILE counts, for receivers with an authority of their own; proxies from the environment do not.
        tls = httpx.create_ssl_context(trust_env=True)
        count = -(-connections // CONNECTIONS_PER_POOL)
        self._pools = [httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits) for _ in range(count)]
        self._turns = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it through the next pool."""
        return await next(self._turns).handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools:
            await pool.aclose()


def is_public(address: str) -> bool:
    """Whether an address is reachable from everywhere, and so is every IPv4 address wrapped in it."""
    return all(_is_global(part) for part in _unwrap(ipaddress.ip_address(address)))


def _is_global(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_GLOBAL)


def _unwrap(address: Address) -> Iterator[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in NAT64:
        yield ipaddress.IPv4Address(int(address) & IPV4_BITS)
