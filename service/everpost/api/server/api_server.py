"""Runs uvicorn around the application: one socket, one process, an orderly end."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any, cast

import structlog
import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from everpost.api.http.direct import DirectRoutes
from everpost.api.routes.table import DIRECT
from everpost.api.server.connections import Connections, Standing
from everpost.api.server.descriptors import most_connections, most_streams, room_for_connections
from everpost.api.server.protocol import HttpProtocol
from everpost.errors import SettingsError

log = structlog.get_logger("everpost.api")

BACKLOG = 2048  # connections the kernel holds until they are accepted
KEEP_ALIVE_S = 75  # the longest wait for a request, and for the rest of its head
STALL_S = 60  # the longest wait for a byte of a started body or answer, as in nginx
LEAVE_S = 30  # the longest wait for the client to hang up after a last answer
STALL_AT_STOP_S = 3  # replaces STALL_S once the server stops


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling; it reports when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and report that."""
        await super().startup(sockets)
        self.accepts.set()


class ApiServer:
    """An application served over HTTP.

    Args:
        release: Called when a stop begins, so that long polls are answered and streams end.
        finish_s: Seconds that running requests then get.
        around: Wraps the application; None serves it as it is.
    """

    def __init__(
        self,
        app: Litestar,
        host: str,
        port: int,
        *,
        release: Callable[[], None],
        finish_s: float,
        around: Callable[[Any], Any] | None = None,
    ) -> None:
        self._finish_s = finish_s
        self._around = around
        self.app = app
        self._host = host
        self._port = port
        self._release = release
        self._stack = AsyncExitStack()
        self._connections: Connections | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = ""

    async def start(self) -> str:
        """Open what the application needs, then serve; return the address.

        Raises:
            SettingsError: The address cannot be bound.
            ServiceError: An error of the application's start.
        """
        listener = bind(self._host, self._port)
        self._stack.callback(listener.close)
        try:
            await self._stack.enter_async_context(self.app.lifespan())
            room = room_for_connections()
            connections = self._connections = Connections(
                most_connections(room), _limits_s(), room=room, most_streams=most_streams(room)
            )
            served: ASGIApp = DirectRoutes(self.app, DIRECT)
            if self._around is not None:
                served = self._around(served)
            server = self._server = _Server(_config(served, connections, self._finish_s))
            self._serving = asyncio.create_task(server.serve([listener]))
            await server.accepts.wait()
        except BaseException:
            await self._stack.aclose()
            raise
        self.address = _address(listener)
        log.info("api.serving", address=self.address, most_connections=connections.most)
        return self.address

    async def stop(self) -> None:
        """Accept nothing more, answer running requests, then close what the application opened."""
        try:
            if self._server is not None and self._serving is not None and self._connections is not None:
                self._release()
                self._connections.hurry(STALL_AT_STOP_S)
                self._server.should_exit = True
                await self._serving
        finally:
            await self._stack.aclose()
            log.info("api.stopped", address=self.address)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one.

    Raises:
        SettingsError: Another program uses the address, or this machine does not have it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only if the protocol is named. With it, each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"EVERPOST_HOST={host}, EVERPOST_PORT={port}: {error.strerror or error}.") from error
    listener.setblocking(False)  # noqa: FBT003 - the parameter has no name
    return listener


def _config(app: ASGIApp, connections: Connections, finish_s: float) -> uvicorn.Config:
    protocol = partial(HttpProtocol, connections=connections)
    return uvicorn.Config(
        app,
        http=cast("type[HttpProtocol]", protocol),  # uvicorn only calls it
        ws="none",
        lifespan="off",  # ApiServer enters it itself, so that its errors reach the caller
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        headers=[("X-Content-Type-Options", "nosniff")],
        timeout_graceful_shutdown=max(1, round(finish_s)),
    )


def _limits_s() -> Mapping[Standing, float]:
    return {
        Standing.IDLE: KEEP_ALIVE_S,
        Standing.HEAD: KEEP_ALIVE_S,
        Standing.BODY: STALL_S,
        Standing.ANSWER: STALL_S,
        Standing.LEAVING: LEAVE_S,
    }


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
