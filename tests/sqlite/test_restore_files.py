"""A backup replaces the file: never while it is in use, never half, never from an invalid backup."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from everpost.clock import system_clock
from everpost.errors import DatabaseBusy, DatabaseUnusable, DatabaseUnwritable
from everpost.store.pause import Pause
from everpost.store.sqlite.care.backup import back_up_database
from everpost.store.sqlite.care.restore import restore_database
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.testing import everpost_stack
from sqlite.original_database import make_original

HOUR_MS = 3_600_000
RESUME = "/api/v1/dispatch/resume"


def restore(folder: Path) -> Pause:
    return restore_database(folder / "backup.db", folder / "everpost.db", system_clock())


async def test_nothing_is_restored_while_a_process_has_the_database_open(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.publish()
        back_up_database(stack.settings.database_path, tmp_path / "backup.db")
        before = (tmp_path / "everpost.db").stat()
        with pytest.raises(DatabaseUnusable, match="stop the API"):
            restore(tmp_path)
        (tmp_path / "everpost.db").rename(tmp_path / "moved.db")  # and also when its file has gone
        with pytest.raises(DatabaseUnusable, match="stop the API"):
            restore(tmp_path)
        (tmp_path / "moved.db").rename(tmp_path / "everpost.db")
        assert os.path.samestat(before, (tmp_path / "everpost.db").stat())
    restore(tmp_path)


def left_over(folder: Path, *marks: str) -> list[str]:
    """What a restore that failed should not have left, or files of these marks."""
    marks = marks or ("part", ".replaced")
    return [file.name for file in folder.iterdir() if any(mark in file.name for mark in marks)]


def content(name: str) -> bytes:
    return Path(name).read_bytes()


async def make_backup(folder: Path) -> None:
    database = await Database.open(folder / "everpost.db")
    await database.close()
    back_up_database(folder / "everpost.db", folder / "backup.db")


async def test_nothing_is_restored_while_another_program_reads_the_file(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    with foreign_reader(tmp_path / "everpost.db"), pytest.raises(DatabaseUnusable, match="stop the API"):
        restore(tmp_path)


@contextmanager
def foreign_reader(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path)
    try:
        connection.execute("SELECT * FROM everpost_meta").fetchall()
        yield
    finally:
        connection.close()


async def test_no_process_opens_the_database_while_it_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_backup(tmp_path)
    refusals: list[Exception] = []

    def open_meanwhile(source: Path, partial: Path) -> None:
        with pytest.raises(DatabaseBusy) as refused:
            asyncio.run(Database.open(tmp_path / "everpost.db"))
        refusals.append(refused.value)
        shutil.copy(source, partial)

    monkeypatch.setattr("everpost.store.sqlite.care.restore.copy_database", open_meanwhile)
    await asyncio.to_thread(restore, tmp_path)
    assert len(refusals) == 1


async def test_the_replaced_file_is_kept_with_all_that_was_in_its_log(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    path = tmp_path / "everpost.db"
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO everpost_meta VALUES ('last', 'words')")
    connection.commit()
    for name in (
        "everpost.db",
        "everpost.db-wal",
    ):  # as a process killed leaves them: not in the database but beside it
        shutil.copy(tmp_path / name, tmp_path / f"crashed-{name}")
    connection.close()
    for name in ("everpost.db", "everpost.db-wal"):
        shutil.move(tmp_path / f"crashed-{name}", tmp_path / name)
    replaced = restore(tmp_path).replaced
    assert replaced is not None
    with sqlite3.connect(replaced) as kept:
        assert kept.execute("SELECT value FROM everpost_meta WHERE key = 'last'").fetchall() == [("words",)]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT value FROM everpost_meta WHERE key = 'last'").fetchall() == []
    kept.close()
    database.close()


async def test_a_damaged_database_is_replaced_and_its_log_does_not_reach_the_new_one(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    (tmp_path / "everpost.db").write_bytes(b"no database" * 1_000)
    (tmp_path / "everpost.db-wal").write_bytes(b"no log" * 1_000)
    replaced = restore(tmp_path).replaced
    assert content(f"{replaced}").startswith(b"no database")
    assert left_over(tmp_path, ".db-") == []
    database = await Database.open(tmp_path / "everpost.db")
    await database.close()


async def test_a_database_that_is_gone_is_restored(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    target = tmp_path / "new" / "folder" / "everpost.db"
    assert restore_database(tmp_path / "backup.db", target, system_clock()).replaced is None
    assert [file.name for file in target.parent.iterdir()] == ["everpost.db"]


def write_words(path: Path) -> None:
    path.write_bytes(b"words, words, words" * 500)


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)


def empty(path: Path) -> None:
    path.unlink()
    sqlite3.connect(path).close()


@pytest.mark.parametrize(
    "spoil", [write_words, damage, make_original, empty, Path.unlink], ids=lambda spoil: spoil.__name__
)
async def test_an_invalid_backup_changes_nothing(tmp_path: Path, spoil: Any) -> None:
    await make_backup(tmp_path)
    if spoil is make_original:
        (tmp_path / "backup.db").unlink()
    spoil(tmp_path / "backup.db")
    before = (tmp_path / "everpost.db").read_bytes()
    with pytest.raises(DatabaseUnusable, match="backup"):
        restore(tmp_path)
    assert (tmp_path / "everpost.db").read_bytes() == before
    assert left_over(tmp_path) == []


async def test_a_database_is_refused_as_its_own_backup(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    with pytest.raises(DatabaseUnusable, match="not a backup"):
        restore_database(tmp_path / "everpost.db", tmp_path / "everpost.db", system_clock())


async def test_a_restore_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_backup(tmp_path)

    def fill_up(source: Path, partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = (tmp_path / "everpost.db").read_bytes()
    monkeypatch.setattr("everpost.store.sqlite.care.restore.copy_database", fill_up)
    with pytest.raises(DatabaseUnwritable, match="No space"):
        restore(tmp_path)
    assert (tmp_path / "everpost.db").read_bytes() == before
    assert left_over(tmp_path) == []
