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
    shared_server().give_back(address)


@pytest.fixture(scope="session")
def link_address() -> str:
    """The address of a database that all tests of the link in this process use, one after the other."""
    return shared_server().new_database(template="template0")


@pytest_asyncio.fixture
async def database(link_address: str) -> AsyncIterator[Database]:
    """The link to a database with the table `link_rows`."""
    database = await Database.open(postgresql_address(link_address))
    await database.write(lambda connection: connection.run_script(ROWS))
    yield database
    await database.close()
