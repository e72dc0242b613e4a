"""The stores that the contract is tested on, each opened by its address as Everpost opens it.

A new store is one more entry of `ADDRESSES`, and a kit for `store_kit.kit_of`.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from everpost.store import Store, open_store
from store_kit import StoreKit, kit_of
from stores import ADDRESSES, empty_store


class Stores:
    """Opens one store as often as a test likes, as so many processes would.

    Attributes:
        address: Where the store is.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._opened: list[Store] = []

    async def open(self, **options: Any) -> Store:
        """One more connection to the store; it is closed after the test."""
        store = await open_store(self.address, **options)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Close every connection."""
        while self._opened:
            await self._opened.pop().close()


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store."""
    with empty_store(request.param, tmp_path) as address:
        yield address


@pytest_asyncio.fixture
async def stores(address: str) -> AsyncIterator[Stores]:
    """The store, to be opened."""
    stores = Stores(address)
    yield stores
    await stores.close()


@pytest_asyncio.fixture
async def store(stores: Stores) -> Store:
    """The open store."""
    return await stores.open()


@pytest_asyncio.fixture
async def other(stores: Stores, store: Store) -> Store:
    """The same store as another process has it open."""
    return await stores.open()


@pytest.fixture
def kit(stores: Stores, store: Store) -> StoreKit:
    """A look past the port, and changes that another program makes."""
    return kit_of(stores.address)
