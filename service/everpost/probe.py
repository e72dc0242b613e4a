"""Finds an API's address, a free port, and asks a server one question; needs only sockets."""

import errno
import http.client
import socket
from urllib.parse import quote

from everpost.errors import SettingsError
from everpost.settings import Settings

TIMEOUT_S = 4
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing binds to these here


class PortTaken(SettingsError):
    """Another process listens there already."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"Port {port} of {host} is in use; choose another with --port or EVERPOST_PORT (0: any free).")


def reachable_host(host: str) -> str:
    """The host under which this machine reaches a server that binds to `host`."""
    return EVERY_ADDRESS.get(host, host)


def base_url(settings: Settings, port: int | None = None) -> str:
    """The URL under which a client on this machine reaches the API of these settings."""
    host = reachable_host(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port or settings.port}"


def free_port(host: str, port: int) -> int:
    """`port` if it can be bound to on `host`; any free one for 0.

    Raises:
        PortTaken: Another server listens there.
        OSError: This machine does not have the address, or this user may not bind to the port.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(host, port) from error
            raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
        return int(probe.getsockname()[1])


def ask(host: str, port: int, path: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """GET `path`, with the bearer token if there is one; return the status and the beginning of the body.

    Raises:
        OSError: There is no answer within `timeout_s`.
        http.client.HTTPException: The server does not speak HTTP.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=timeout_s)
    try:
        connection.request("GET", quote(path), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(2000).decode(errors="replace")
    finally:
        connection.close()
