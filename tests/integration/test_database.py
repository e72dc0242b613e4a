import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.errors import DatabaseBusy, DatabaseUnusable, DatabaseUnwritable
from service.store import database as database_module
from service.store.database import Database
from service.store.sqlite import sqlite3 as same_library  # another one would not see its locks: they are the process's


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "everpost.db", readers=1)
    yield opened
    await opened.close()


def insert(key: str) -> Any:
    return lambda connection: connection.execute("INSERT INTO everpost_meta VALUES (?, '')", (key,)).rowcount


async def keys(database: Database) -> list[str]:
    rows = await database.read(lambda connection: connection.execute("SELECT key FROM everpost_meta").fetchall())
    return [key for (key,) in rows]


async def test_writes_at_once_are_one_transaction_and_each_gets_its_own_answer(database: Database) -> None:
    commits = 0

    def count(_: str) -> None:
        nonlocal commits
        commits += 1

    writer = database._writer
    assert writer is not None
    await writer.set_trace_callback(lambda statement: count(statement) if statement == "COMMIT" else None)
    await asyncio.gather(*(database.write(insert(str(n))) for n in range(100)))
    assert len(await keys(database)) == 100
    assert commits <= 2  # the first alone, the others together


async def test_a_write_that_fails_fails_alone(database: Database) -> None:
    answers = await asyncio.gather(
        *(database.write(insert(key)) for key in ("a", "b", "a", "c")), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [False, False, True, False]
    assert sorted(await keys(database)) == ["a", "b", "c"]


async def test_a_write_that_could_not_begin_in_time_is_not_made(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseBusy):
        await database.write(insert("late"), within_s=-1)
    assert await database.write(insert("timely"), within_s=60) == 1
    assert await keys(database) == ["timely"]


async def test_a_write_waits_for_a_lock_another_process_holds(database: Database, tmp_path: Path) -> None:
    with closing(same_library.connect(tmp_path / "everpost.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(database.write(insert("patient")))
        await asyncio.wait((write,), timeout=0.05)
        assert not write.done()
        other.execute("COMMIT")
        assert await write == 1


async def test_a_write_gives_a_lock_up_that_is_held_too_long(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.02)
    with closing(same_library.connect(tmp_path / "everpost.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            await database.write(insert("refused"))
    assert await keys(database) == []


async def test_a_file_moved_away_takes_no_more_writes(database: Database, tmp_path: Path) -> None:
    (tmp_path / "everpost.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
        await database.write(insert("lost"))
    (tmp_path / "elsewhere.db").rename(tmp_path / "everpost.db")
    assert await database.write(insert("kept")) == 1


async def test_the_pragmas_are_in_force(database: Database) -> None:
    def read(connection: sqlite3.Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "trusted_schema")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await database.write(read) == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 0, "mmap_size": 0,
        "trusted_schema": 0,
    }  # fmt: skip


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnwritable, match="readonly"):
        await database.read(insert("never"))
