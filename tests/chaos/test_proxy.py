"""The proxy of the fault tests leaves no connection open."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from chaos_kit.proxy import Proxy


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_just_being_accepted_ends_with_the_proxy(tmp_path: Path, turns: int) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server"))
        server.listen()
        proxy = Proxy(tmp_path / "server")
        async with proxy.serving():
            client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
            for _ in range(turns):
                await asyncio.sleep(0)
        with client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
