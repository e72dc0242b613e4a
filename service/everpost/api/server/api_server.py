"""uvicorn around the application: one socket, one process, an orderly end."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import cast

import structlog
import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from everpost.api.http.direct import DirectRoutes
from everpost.api.routes.table import DIRECT
from everpost.api.server.connections import Connections, Standing
from everpost.api.server.descriptors import room_for_connections
from everpost.api.server.protocol import HttpProtocol
from everpost.errors import SettingsError

log = structlog.get_logger("everpost.api")

BACKLOG = 2048  # connections the kernel keeps until they are accepted
KEEP_ALIVE_S = 75  # without a request, or until its head is whole
STALL_S = 60  # without a byte of a body that was begun, or taken of an answer; as nginx has it
LEAVE_S = 30  # until the client hangs up after a last answer
STALL_AT_STOP_S = 3  # as STALL_S, once the server stops


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the composition root and says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept, and say so."""
        await super().startup(sockets)
        self.accepts.set()


class ApiServer:
    """An application served over HTTP.

    Args:
        release: Called when it begins to stop, so that requests that wait for something are answered.
        finish_s: Seconds that requests in flight get then.
    """

    def __init__(self, app: Litestar, host: str, port: int, *, release: Callable[[], None], finish_s: float) -> None:
        self._finish_s = finish_s
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
        """Open what the application needs, then serve; the address it is reached at.

        Raises:
            SettingsError: The address cannot be bound.
            ServiceError: Whatever the application's start raises.
        """
        listener = bind(self._host, self._port)
        self._stack.callback(listener.close)
        try:
            await self._stack.enter_async_context(self.app.lifespan())
            connections = self._connections = Connections(room_for_connections(), _limits_s())
            server = self._server = _Server(_config(DirectRoutes(self.app, DIRECT), connections, self._finish_s))
            self._serving = asyncio.create_task(server.serve([listener]))
            await server.accepts.wait()
        except BaseException:
            await self._stack.aclose()
            raise
        self.address = _address(listener)
        log.info("api.serving", address=self.address, most_connections=connections.most)
        return self.address

    async def stop(self) -> None:
        """Accept nothing more, answer what is in flight, then close what the application opened."""
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
    """A socket on the address; port 0 takes a free one.

    Raises:
        SettingsError: Another program has it, or it is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"EVERPOST_HOST={host}, EVERPOST_PORT={port}: {error.strerror or error}.") from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's parameter has no name
    return listener


def _config(app: ASGIApp, connections: Connections, finish_s: float) -> uvicorn.Config:
    protocol = partial(HttpProtocol, connections=connections)
    return uvicorn.Config(
        app,
        http=cast("type[HttpProtocol]", protocol),  # uvicorn only calls it
        ws="none",
        lifespan="off",  # ApiServer enters it itself, so that its errors reach whoever starts the server
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
