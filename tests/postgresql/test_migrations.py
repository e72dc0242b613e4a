"""How the tables are brought up to date, and who may serve them afterwards."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from everpost.database_address import postgresql_address
from everpost.errors import DatabaseUnusable
from everpost.store import open_store
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.schema import migrate as module
from everpost.store.postgresql.schema.migrate import bring_up, is_current, migrations


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of migrations, with one that makes a table."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "FOLDER", tmp_path)
        put(tmp_path, "0001_first.sql", "-- needs: 1\nCREATE TABLE first (a text);")
        yield tmp_path
    migrations.cache_clear()


def put(folder: Path, name: str, text: str) -> None:
    """Add a migration to the code."""
    (folder / name).write_text(text)
    migrations.cache_clear()


def remove(folder: Path, name: str) -> None:
    """Make the code one version older."""
    (folder / name).unlink()
    migrations.cache_clear()


async def version(address: str) -> int:
    """Bring the tables up; their version."""
    database = await Database.open(postgresql_address(address))
    try:
        return await bring_up(database)
    finally:
        await database.close()


def tables(address: str) -> set[str]:
    with psycopg.connect(address) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


async def test_each_migration_is_applied_once_by_however_many_processes(address: str, folder: Path) -> None:
    assert await asyncio.gather(*(version(address) for _ in range(4))) == [1, 1, 1, 1]
    put(folder, "0002_second.sql", "-- needs: 1\nALTER TABLE first ADD b text; CREATE TABLE second (a text);")
    assert await asyncio.gather(*(version(address) for _ in range(4))) == [2, 2, 2, 2]
    assert tables(address) == {"everpost_schema", "first", "second"}


async def test_a_migration_that_fails_leaves_nothing(address: str, folder: Path) -> None:
    put(folder, "0002_second.sql", "-- needs: 1\nCREATE TABLE second (a text); SELECT nothing_here;")
    with pytest.raises(DatabaseUnusable, match="nothing_here"):
        await version(address)
    assert tables(address) == set()


async def test_the_version_before_goes_on_unless_the_migration_forbids_it(address: str, folder: Path) -> None:
    put(folder, "0002_second.sql", "-- needs: 1\nCREATE TABLE second (a text);")
    assert await version(address) == 2
    remove(folder, "0002_second.sql")
    assert await version(address) == 2
    put(folder, "0002_second.sql", "-- needs: 1\nCREATE TABLE second (a text);")
    put(folder, "0003_third.sql", "-- needs: 3\nDROP TABLE first;")
    assert await version(address) == 3
    remove(folder, "0003_third.sql")
    with pytest.raises(DatabaseUnusable, match="version 3, made by a newer Everpost; this one knows 2"):
        await version(address)


async def test_tables_of_another_build_are_refused(address: str, folder: Path) -> None:
    assert await version(address) == 1
    put(folder, "0001_first.sql", "-- needs: 1\nCREATE TABLE first (a text, b text);")
    with pytest.raises(DatabaseUnusable, match="another build: 0001_first"):
        await version(address)


async def test_a_migration_waits_for_a_lock_only_shortly_and_comes_again(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_MS", 50)
    assert await version(address) == 1
    put(folder, "0002_second.sql", "-- needs: 1\nALTER TABLE first ADD b text;")
    with psycopg.connect(address) as holder:
        holder.execute("INSERT INTO first VALUES ('x')")
        migrating = asyncio.create_task(version(address))
        async with asyncio.timeout(60):  # others can use the table although a migration waits for it
            for _ in range(3):
                await asyncio.to_thread(_insert, address)
        assert not migrating.done()
        holder.rollback()
    assert await migrating == 2


def _insert(address: str) -> None:
    with psycopg.connect(address) as connection:
        connection.execute("INSERT INTO first VALUES ('y')")


async def test_looking_whether_tables_are_current_changes_nothing(address: str, folder: Path) -> None:
    database = await Database.open(postgresql_address(address))
    assert not await database.read(is_current)
    assert tables(address) == set()
    await bring_up(database)
    assert await database.read(is_current)
    await database.close()


async def test_a_migration_is_seen_by_transactions_with_older_plans(address: str) -> None:
    stores = [await open_store(address), await open_store(address)]
    await asyncio.gather(*(store.meta.set("a", "1") for store in stores for _ in range(4)))
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("ALTER TABLE everpost_meta ADD added_by_a_newer_version text")
    for store in stores:
        await store.meta.set("a", "2")
        assert await store.meta.get("a") == "2"
        await store.close()


def test_every_migration_says_what_it_needs() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))
    for migration in migrations():
        assert 1 <= migration.needs <= migration.version


def test_no_migration_builds_an_index_on_a_table_of_an_earlier_one() -> None:
    """Everything that writes the table would wait until the index is built. There are at most 10,000 operations."""
    for migration in migrations():
        made = set(re.findall(r"^CREATE TABLE (\w+)", migration.text, re.MULTILINE))
        indexed = set(re.findall(r"^CREATE (?:UNIQUE )?INDEX \w+\s+ON (?!ONLY )(\w+)", migration.text, re.MULTILINE))
        assert indexed <= made | {"operations"}, migration.name
