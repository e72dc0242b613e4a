"""A client that reads an export slowly, or goes away, leaves no transaction open, which would keep vacuum from rows."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api_support import serving
from everpost.store import open_store
from everpost.testing import eventually
from postgresql_server import shared_server
from store_rows import add_ended, make_task

TASKS = 300
TEXT = "x" * 50_000  # all together more than the buffers of a connection
OPEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
)


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty database with Everpost's tables."""
    address = shared_server().new_database()
    yield address
    shared_server().drop(address)


async def test_a_slow_reader_of_an_export_keeps_no_transaction_open(address: str, tmp_path: Path) -> None:
    store = await open_store(address)
    await add_ended(store, *(make_task(f"t{number:03}", description=TEXT) for number in range(TASKS)))
    await store.close()
    database = address.rpartition("/")[2]

    async def is_idle() -> bool:
        return bool(shared_server().server.sql(OPEN.format(database), database) == [(0,)])

    async with serving(tmp_path, None, database=address) as api:
        async with api.client.stream("GET", "/api/v1/tasks/export") as answer:
            assert await anext(answer.aiter_raw(1_000))
            await eventually(is_idle)
        await eventually(is_idle)
        assert (await api.client.get("/api/v1/tasks?limit=1")).status_code == httpx.codes.OK
