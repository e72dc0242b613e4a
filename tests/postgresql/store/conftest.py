"""An open store on an empty database."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from everpost.store import Store, open_store
from postgresql.kit import PostgresqlKit
from postgresql_server import shared_server


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty database with Everpost's tables."""
    address = shared_server().new_database()
    yield address
    shared_server().give_back(address)


@pytest_asyncio.fixture
async def store(address: str) -> AsyncIterator[Store]:
    """The open store."""
    store = await open_store(address)
    yield store
    await store.close()


@pytest.fixture
def kit(address: str, store: Store) -> PostgresqlKit:
    """A look past the port."""
    return PostgresqlKit(address)
