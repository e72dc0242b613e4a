"""Where a publisher may connect to: it resolves a host once, checks the addresses, and connects to those."""

import asyncio
import ipaddress
import itertools
import os
import socket
import ssl
from collections.abc import Iterator
from functools import cache

import httpx

from everpost.publishing import PermanentError, TransientError

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
IPV4_BITS = (1 << 32) - 1
NOT_GLOBAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # RFC 6890
        "::/96",  # RFC 4291: the old form of wrapped IPv4 addresses, loopback included
        "::ffff:0:0:0/96",  # RFC 2765: translated IPv4 addresses
        "64:ff9b:1::/48",  # RFC 8215: a network's own NAT64
        "fec0::/10",  # RFC 3879: site-local, the predecessor of fc00::/7
        "3fff::/20",  # RFC 9637
        "5f00::/16",  # RFC 9602
    )
)
"""Networks that some versions of Python wrongly take for global: 3.11.7 all of them, later versions fewer."""

CONNECTIONS_PER_POOL = 8

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def resolve_host(host: str, port: int, *, allow_private: bool = False) -> tuple[str, ...]:
    """The addresses of a host, in the resolver's order. Connect to exactly these: resolving again may give others.

    Raises:
        TransientError: The name cannot be resolved now.
        PermanentError: One of its addresses is not global and `allow_private` is false.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label is too long
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

    For every request, a pool of httpcore 1.0 visits all its connections once per connection. A pool of 100 served 280
    requests a second, pools of eight serve more than 1,000. The caller limits the number of simultaneous requests.

    Args:
        connections: About how many requests run at a time.
    """

    def __init__(self, connections: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        tls = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        count = -(-connections // CONNECTIONS_PER_POOL)
        self._pools = [httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits) for _ in range(count)]
        self._turns = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request through the next pool."""
        return await next(self._turns).handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.aclose()


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The certificate authorities, read once: it takes 20 ms and a megabyte for each transport.

    Args:
        file: SSL_CERT_FILE, for receivers with a certificate authority of their own; proxy variables do not count.
        folder: SSL_CERT_DIR.
    """
    del file, folder  # httpx reads them itself
    return httpx.create_ssl_context(trust_env=True)


def is_public(address: str) -> bool:
    """Whether an address is reachable from everywhere; IPv4 addresses wrapped in it are checked too."""
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
