"""A database with one small table of rows, and the link to it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from everpost.database_address import postgresql_address
from everpost.store.postgresql.link.database import Database
from postgresql.link_kit import ROWS
from postgresql_server import shared_server


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty database."""
    address = shared_server().new_database(template="template0")
    yield address
    shared_server().drop_database(address)


@pytest_asyncio.fixture
async def database(address: str) -> AsyncIterator[Database]:
    """The link to a database with the table `link_rows`."""
    database = await Database.open(postgresql_address(address))
    await database.write(lambda connection: connection.run_script(ROWS))
    yield database
    await database.close()
