"""Long work on the file tells its own writes from those of others, for which it rests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everpost.store.sqlite.file import others as others_module
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.others import OtherWriters
from everpost.store.sqlite.library import sqlite3


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(others_module, "RECENT_S", 60.0)
    database = await Database.open(tmp_path / "everpost.db")
    await database.write(_add)
    yield database
    await database.close()


def _add(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at) VALUES (hex(randomblob(8)), '', '', '')"
    )


async def step(database: Database, others: OtherWriters) -> bool:
    def change(connection: sqlite3.Connection) -> None:
        others.look(connection)
        _add(connection)

    await database.write(change)
    return others.are_writing()


async def test_its_own_steps_are_no_reason_to_rest(database: Database) -> None:
    others = OtherWriters(database)
    assert [await step(database, others) for _ in range(3)] == [False, False, False]


async def test_a_write_of_the_same_process_is_noticed(database: Database) -> None:
    others = OtherWriters(database)
    assert not await step(database, others)
    await database.write(_add)
    assert await step(database, others)


async def test_a_write_of_another_process_is_noticed(database: Database) -> None:
    others = OtherWriters(database)
    assert not await step(database, others)
    other = await Database.open(database.path)
    await other.write(_add)
    await other.close()
    assert await step(database, others)
