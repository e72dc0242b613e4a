import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everpost.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnusable, DatabaseUnwritable, WriteUnconfirmed
from everpost.store.sqlite import faults
from everpost.store.sqlite.file import connection
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.transactions import LOCK_WAIT_S
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.acceptance import rows_of_accepted
from fair_time import fair_s
from store_rows import START_MS, make_task

PAGE_BYTES = 4096


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


async def count_commits(database: Database, writes: Sequence[Coroutine[Any, Any, Any]]) -> tuple[int, list[Any]]:
    """How many transactions the writes are when they come at once, and their answers."""
    statements: list[str] = []
    writer = database._writer
    assert writer is not None
    await writer.set_trace_callback(statements.append)
    answers = await asyncio.gather(*writes, return_exceptions=True)
    return statements.count("COMMIT"), answers


async def test_writes_at_once_are_one_transaction_and_each_gets_its_own_answer(database: Database) -> None:
    commits, answers = await count_commits(database, [database.write(insert(str(n))) for n in range(100)])
    assert answers == [1] * 100
    assert len(await keys(database)) == 100
    assert commits <= 2  # the first alone, the others together


async def test_a_write_that_fails_fails_alone(database: Database) -> None:
    answers = await asyncio.gather(
        *(database.write(insert(key)) for key in ("a", "b", "a", "c")), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [False, False, True, False]
    assert sorted(await keys(database)) == ["a", "b", "c"]


async def test_a_write_that_fails_costs_those_beside_it_a_few_commits(database: Database) -> None:
    names = [str(n) for n in range(250)]
    names[123] = "0"
    commits, answers = await count_commits(database, [database.write(insert(name)) for name in names])
    assert [number for number, answer in enumerate(answers) if answer != 1] == [123]
    assert commits <= 10


async def test_a_write_that_could_not_begin_in_time_is_not_made(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseBusy):
        await database.write(insert("late"), within_s=-1)
    assert await database.write(insert("timely"), within_s=60) == 1
    assert await keys(database) == ["timely"]


async def test_a_file_moved_away_takes_no_more_writes(database: Database, tmp_path: Path) -> None:
    (tmp_path / "everpost.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
        await database.write(insert("lost"))
    (tmp_path / "elsewhere.db").rename(tmp_path / "everpost.db")
    assert await database.write(insert("kept")) == 1


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_without_its_log_a_file_takes_no_more_writes(database: Database, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"everpost.db{suffix}").rename(tmp_path / "elsewhere")
    with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
        await database.write(insert("lost"))


@pytest.fixture
def long_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it that folders were last changed long ago."""
    monkeypatch.setattr(faults, "OLD_NS", -2_000_000_000)


@pytest.mark.usefixtures("long_unchanged")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_log_moved_away_from_a_folder_long_unchanged_is_missed_for_good(
    database: Database, tmp_path: Path, suffix: str
) -> None:
    for name in ("first", "second"):
        await database.write(insert(name))
    (tmp_path / f"everpost.db{suffix}").rename(tmp_path / "elsewhere")
    for name in ("third", "fourth", "fifth"):
        with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
            await database.write(insert(name))
    (tmp_path / "elsewhere").rename(tmp_path / f"everpost.db{suffix}")
    await database.write(insert("sixth"))


@pytest.mark.usefixtures("long_unchanged")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_log_is_missed_also_where_its_folder_was_given_back_its_time(
    database: Database, tmp_path: Path, suffix: str
) -> None:
    os.utime(tmp_path, (2_000, 1_000))
    for name in ("first", "second"):
        await database.write(insert(name))
    (tmp_path / f"everpost.db{suffix}").unlink()
    os.utime(tmp_path, (2_000, 1_000))  # as `rsync --archive --delete` does, from a copy of the folder
    with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
        await database.write(insert("lost"))


async def test_of_two_changes_at_one_time_the_second_is_seen(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(st_dev=1, st_ino=2, st_ctime_ns=time.time_ns())
    with monkeypatch.context() as coarse_clock:
        coarse_clock.setattr(Path, "stat", lambda _: now)
        await database.write(insert("first"))
        (tmp_path / "everpost.db-wal").rename(tmp_path / "elsewhere")
        with pytest.raises(DatabaseUnusable, match="moved, deleted or replaced"):
            await database.write(insert("lost"))


async def test_a_commit_to_a_file_deleted_meanwhile_is_not_acknowledged(database: Database, tmp_path: Path) -> None:
    def insert_and_delete(connection: sqlite3.Connection) -> None:
        insert("lost")(connection)
        (tmp_path / "everpost.db").unlink()

    with pytest.raises(WriteUnconfirmed, match="moved, deleted or replaced"):
        await database.write(insert_and_delete)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other connections from writing; another library's locks would be invisible, because they are per process."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def kind_of_trouble(database: Database) -> type | None:
    return type(database.trouble) if database.trouble else None


async def answered_within_s(database: Database, *names: str) -> float:
    """How long it takes until all of these writes at once have been refused because of a lock."""
    began = fair_s()
    answers = await asyncio.gather(*(database.write(insert(name)) for name in names), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseBusy] * len(names)
    return fair_s() - began


async def test_a_write_waits_for_a_lock_another_process_holds(database: Database) -> None:
    with locked(database.path):
        write = asyncio.create_task(database.write(insert("patient")))
        await asyncio.wait((write,), timeout=0.05)
        assert not write.done()
    assert await write == 1


async def test_writes_to_a_locked_file_are_answered_within_2_s_and_later_ones_at_once(database: Database) -> None:
    with locked(database.path):
        # The time without a processor is not counted, so it may be a little less than the wait.
        assert LOCK_WAIT_S / 2 < await answered_within_s(database, *map(str, range(100))) < 2
        assert await answered_within_s(database, *map(str, range(100))) < 1
        assert kind_of_trouble(database) is DatabaseBusy
    assert await database.write(insert("kept")) == 1
    assert kind_of_trouble(database) is None
    assert await keys(database) == ["kept"]


async def fill(database: Database) -> None:
    """Let the file have no room for another page."""
    await database.write(lambda raw: raw.execute("PRAGMA max_page_count = 1").fetchall())


async def test_a_full_file_is_in_trouble_until_something_has_been_written(database: Database) -> None:
    await fill(database)
    long = "x" * 100_000
    answers = await asyncio.gather(*(database.write(insert(f"{n}{long}")) for n in range(9)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {DatabaseUnwritable}
    await database.write(lambda raw: raw.execute("DELETE FROM everpost_meta WHERE key = 'none'"))
    assert kind_of_trouble(database) is DatabaseUnwritable
    await database.write(lambda raw: raw.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert await database.write(insert(long)) == 1
    assert kind_of_trouble(database) is None


async def test_a_rolled_back_write_does_not_prove_that_a_full_file_is_writable(database: Database) -> None:
    await fill(database)
    with pytest.raises(DatabaseUnwritable):
        await database.write(insert("x" * 100_000))
    twice = rows_of_accepted([make_task("twice")] * 2, START_MS)
    with pytest.raises(sqlite3.IntegrityError):
        await database.write_rows("accept_tasks", twice)
    assert kind_of_trouble(database) is DatabaseUnwritable


async def test_writes_before_the_file_was_full_are_answered_as_written(database: Database) -> None:
    await fill(database)
    writes = (
        database.write(insert("short")),
        database.write(insert("late"), within_s=-1),  # for which they are committed in two halves
        database.write(insert("x" * 100_000)),
        database.write(insert("next")),
    )
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert answers[0] == 1
    assert [type(answer) for answer in answers[1:]] == [DatabaseBusy, DatabaseUnwritable, DatabaseUnwritable]
    assert await keys(database) == ["short"]
    assert kind_of_trouble(database) is DatabaseUnwritable


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_damaged_file_is_written_to_no_more(tmp_path: Path, *, is_read: bool) -> None:
    path = tmp_path / "everpost.db"
    await (await Database.open(path)).close()
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'everpost_meta'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    with pytest.raises(DatabaseDamaged, match="restore a backup"):
        await use_damaged(path, is_read=is_read)


async def use_damaged(path: Path, *, is_read: bool) -> None:
    """Open a damaged file; hit upon the damage, if that has not; write once more."""
    database = await Database.open(path)
    try:
        with pytest.raises(DatabaseDamaged):
            await (keys(database) if is_read else database.write(insert("lost")))
        await database.write(lambda _: None)
    finally:
        await database.close()


async def test_the_pragmas_are_in_force(database: Database) -> None:
    def read(connection: sqlite3.Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "trusted_schema")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await database.write(read) == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 0, "busy_timeout": 0, "mmap_size": 0,
        "trusted_schema": 0,
    }  # fmt: skip


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnwritable, match="readonly"):
        await database.read(insert("never"))


async def test_the_log_grows_during_a_read_and_shrinks_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.PRAGMAS, "journal_size_limit", "1000000")
    monkeypatch.setitem(connection.PRAGMAS, "wal_autocheckpoint", "1000")
    database = await Database.open(tmp_path / "everpost.db", readers=1)
    log = tmp_path / "everpost.db-wal"
    reader = sqlite3.connect(database.path, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM everpost_meta").fetchone()
        for n in range(16):
            await database.write(insert(f"{n}{'x' * 500_000}"))
        assert log.stat().st_size > 8_000_000
        reader.execute("COMMIT")
        for n in range(3):  # the first copies what is in the log, the next begins it anew
            await database.write(insert(str(n)))
        assert log.stat().st_size <= 1_000_000
    finally:
        reader.close()
        await database.close()
