"""A PostgreSQL database that is moved away takes no more writes, even of processes that had it open before."""

from collections.abc import Iterator

import psycopg
import pytest

from everpost.errors import DatabaseUnusable
from everpost.store import maintenance_of, open_store
from everpost.store.moving import Mark, Role, Table
from postgresql.kit import PostgresqlKit
from postgresql_server import shared_server
from store_contract.making import accept, record_of

MARK = Mark(move_id="m", role=Role.SOURCE, other="another.db")


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty database with Everpost's tables, which triggers are added to."""
    address = shared_server().new_database()
    yield address
    shared_server().drop(address)


async def test_a_process_that_came_before_the_mark_is_refused_until_the_move_is_abandoned(address: str) -> None:
    moved = await maintenance_of(address).open_moved()
    store = await open_store(address)
    await accept(store, "before")
    await moved.set_mark(None, MARK)
    for write in (
        accept(store, "after"),
        store.ledger.begin_send("before", 1, 1),
        store.ledger.end([record_of("before")]),
    ):
        with pytest.raises(DatabaseUnusable, match="moved to another"):
            await write
    with pytest.raises(DatabaseUnusable, match="in use by"):
        await maintenance_of(address).open_moved()
    with pytest.raises(DatabaseUnusable, match="Another process is moving"):
        await moved.set_mark(None, MARK)
    await moved.set_mark(MARK, None)
    assert await store.ledger.begin_send("before", 1, 1)
    await store.close()
    await moved.close()


async def test_no_table_of_a_moved_database_takes_writes(address: str) -> None:
    moved = await maintenance_of(address).open_moved()
    await moved.set_mark(None, MARK)
    await moved.close()
    kit = PostgresqlKit(address)
    for table in set(Table) - {Table.META}:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="is moved"):
            kit.execute(f"DELETE FROM {table}")
