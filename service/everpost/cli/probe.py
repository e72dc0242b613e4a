"""Asking a server of ours how it is, with no more than a socket."""

import http.client
from urllib.parse import quote

from everpost.settings import Settings

TIMEOUT_S = 4
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - these are where not to connect to


def reachable_host(host: str) -> str:
    """Where a server that binds to `host` is reached on this machine."""
    return EVERY_ADDRESS.get(host, host)


def base_url(settings: Settings, port: int | None = None) -> str:
    """The address of the API those settings describe, as a client on this machine writes it."""
    host = reachable_host(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port or settings.port}"


def ask(host: str, port: int, path: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """GET `path`, with the bearer token if there is one; the status and the body's beginning.

    Raises:
        OSError: Nobody answers there within `timeout_s`.
        http.client.HTTPException: What answers speaks no HTTP.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=timeout_s)
    try:
        connection.request("GET", quote(path), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(2000).decode(errors="replace")
    finally:
        connection.close()
