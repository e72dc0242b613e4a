"""Opens the store for the doctor, which only looks at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from everpost.errors import ServiceError
from everpost.store import Store, maintenance_of


@asynccontextmanager
async def opened_to_look(address: str) -> AsyncIterator[Store | None]:
    """The store at an address; None if it cannot be opened, which other findings report."""
    try:
        store = await maintenance_of(address).open_current()
    except ServiceError:
        store = None
    try:
        yield store
    finally:
        if store is not None:
            await store.close()
