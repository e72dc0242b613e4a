"""What purging frees goes back to the file system, bit by bit, or from an older file by copying it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli_support import environment, run
from everpost.errors import DatabaseUnusable
from everpost.pace import Pace
from everpost.store.sqlite.care.archive import SqliteArchive
from everpost.store.sqlite.care.compact import compact_database
from everpost.store.sqlite.care.space import find_space
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.occupancy import alone_with
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.migrate import migrate
from sqlite.original_database import run as sql
from sqlite.rows import select

ARCHIVED = """
WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 600)
INSERT INTO publish_tasks_archive (task_id, job_id, status, task_data, archived_at)
SELECT value, 'old' || value, 'success', printf('{"note": "%.*c"}', 8000, 'x'), '2020-01-01T00:00:00.000Z' FROM n
"""
KEPT = "INSERT INTO publish_tasks (job_id, status, task_data) VALUES ('kept', 'failed', '{}')"
PURGE = ("purge", "--archived-before", "2021-01-01", "--yes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with 5 MB of archived tasks, and one that is kept behind them."""
    path = tmp_path / "everpost.db"
    migrate(path)
    sql(path, ARCHIVED)
    sql(path, KEPT)
    return path


def as_older(path: Path) -> None:
    """As a file that an older Everpost has begun."""
    with changed(path) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")


@contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def size_of(path: Path) -> int:
    return path.stat().st_size


def facts(path: Path) -> dict[str, Any]:
    with changed(path) as connection:
        names = ("auto_vacuum", "application_id", "user_version", "integrity_check", "freelist_count")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


async def test_free_space_is_given_back_in_steps(path: Path) -> None:
    sql(path, "DELETE FROM publish_tasks_archive")
    database = await Database.open(path)
    archive = SqliteArchive(database)
    before = await database.read(find_space)
    assert await archive.free_space() == before.free_bytes
    assert before.free_bytes > 4 << 20
    steps = [given async for given in archive.give_back_space(Pace(100))]
    after = await database.read(find_space)
    assert max(steps) <= 101 * 4096  # the map's own pages go with the others
    assert sum(steps) == before.size_bytes - after.size_bytes
    assert after.free_bytes == 0
    assert await select(database, "SELECT job_id FROM publish_tasks") == [("kept",)]
    assert [given async for given in archive.give_back_space(Pace(100))] == []
    await database.close()
    assert size_of(path) < 1 << 20
    assert facts(path)["integrity_check"] == "ok"


def test_purging_makes_the_file_smaller(path: Path, tmp_path: Path) -> None:
    done = run(*PURGE, env=environment(DATA=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    destroyed, given = done.stdout.splitlines()
    assert destroyed == "600 tasks destroyed."
    assert given.endswith(" MiB given back to the file system.")
    assert size_of(path) < 1 << 20


def test_an_older_file_is_made_smaller_by_a_command_of_its_own(path: Path, tmp_path: Path) -> None:
    as_older(path)
    env = environment(DATA=str(tmp_path))
    told = run(*PURGE, env=env).stdout.splitlines()[1]
    assert told.endswith(" MiB of the file are unused; new tasks use them, `everpost compact` frees them.")
    assert size_of(path) > 4 << 20
    before = facts(path)
    done = run("compact", env=env)
    assert (done.returncode, "MiB before" in done.stdout) == (0, True), done.stderr
    assert size_of(path) < 1 << 20
    assert facts(path) == before | {"auto_vacuum": 2, "freelist_count": 0}
    assert sql(path, "SELECT job_id FROM publish_tasks") == [("kept",)]
    assert [file.name for file in tmp_path.glob("everpost.db*")] == ["everpost.db"]


async def test_a_file_in_use_is_not_replaced(path: Path) -> None:
    database = await Database.open(path)
    with pytest.raises(DatabaseUnusable, match=r"has .* open"):
        compact_database(path)
    await database.close()
    compact_database(path)
    with alone_with(path), pytest.raises(DatabaseUnusable, match=r"has .* open"):
        compact_database(path)


def test_rows_that_are_only_in_the_log_are_in_the_compact_file(path: Path) -> None:
    """As a process that was killed leaves it."""
    with changed(path) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("INSERT INTO publish_tasks (job_id, status) VALUES ('late', 'failed')")
        log, index = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))
        left = log.read_bytes(), path.read_bytes()
    log.write_bytes(left[0])
    path.write_bytes(left[1])
    index.unlink(missing_ok=True)
    compact_database(path)
    assert sql(path, "SELECT job_id FROM publish_tasks ORDER BY job_id") == [("kept",), ("late",)]
    assert not log.exists()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1_000])
def test_only_databases_of_everpost_are_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "everpost.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable):
        compact_database(path)
    assert path.read_bytes() == content
    with pytest.raises(DatabaseUnusable, match="There is no database"):
        compact_database(tmp_path / "none.db")
