"""A server, and an empty stage on it, for the tests of the engine."""

from collections.abc import AsyncIterator, Iterator

import pytest

from engine_support import Server, Stage, empty_stage, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a module share."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def stage(server: Server) -> AsyncIterator[Stage]:
    """The server without a key, and a client of it."""
    async with empty_stage(server) as empty:
        yield empty
