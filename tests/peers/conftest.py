"""The real servers. `make peers` fetches them; a test whose server is missing fails and says so."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from everpost.demo.pds import Pds
from everpost.demo.peers import peers_folder
from snac_server import Snac


@pytest.fixture(scope="module")
def pds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pds]:
    """A Bluesky server; each test makes accounts of its own there."""
    server = Pds(peers_folder(os.environ), tmp_path_factory.mktemp("peers") / "pds")
    try:
        yield asyncio.run(server.start())
    finally:
        asyncio.run(server.stop())


@pytest.fixture
async def snac(tmp_path: Path) -> AsyncIterator[Snac]:
    """A server with Mastodon's API and the account `alice`, which ignores keys."""
    server = Snac(peers_folder(os.environ), tmp_path / "snac")
    try:
        yield await server.start()
    finally:
        await server.stop()
