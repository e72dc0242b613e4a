"""An SQLite library whose checkpoints can corrupt the file: they are made only while no connection can commit."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from everpost.store.sqlite.file import checkpoint, connection, database, transactions, watch
from everpost.store.sqlite.file.connection import Operation
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import FIXED_IN, sqlite3
from everpost.testing import eventually

OLD = """
import asyncio, sys
from pathlib import Path
sys.modules["pysqlite3"] = None
from everpost.store.sqlite.file.connection import Operation
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import LIBRARY

async def main():
    opened = await Database.open(Path(sys.argv[1]))
    pages = await opened.write(lambda raw: raw.execute("PRAGMA wal_autocheckpoint").fetchone()[0])
    await opened.close()
    print(LIBRARY, pages)

asyncio.run(main())
"""


def insert(key: str) -> Operation[int]:
    return lambda raw: raw.execute("INSERT INTO everpost_meta VALUES (?, ?)", (key, "x" * 10_000)).rowcount


async def fill(opened: Database, name: str) -> None:
    """Write a few megabytes, a row a commit."""
    for number in range(300):
        await opened.write(insert(f"{name}-{number}"))


def test_with_the_older_library_no_connection_makes_automatic_checkpoints(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OLD, str(tmp_path / "everpost.db")], capture_output=True, text=True, check=True
    )
    name, version, pages = done.stdout.split()
    assert name == "sqlite3"
    is_old = tuple(map(int, version.split("."))) < FIXED_IN
    assert pages == ("0" if is_old else "4000")
    assert ("database.opened" in done.stderr) == is_old  # where logging is not set up, warnings are all that is said


async def test_an_old_librarys_log_is_copied_while_no_other_connection_can_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.PRAGMAS, "wal_autocheckpoint", "0")
    for module in (database, transactions, watch):
        monkeypatch.setattr(module, "CORRUPTION_FIXED", False)
    monkeypatch.setattr(checkpoint, "LOOK_S", 0.01)
    path = tmp_path / "everpost.db"
    both = [await Database.open(path) for _ in range(2)]
    try:
        await asyncio.gather(fill(both[0], "a"), fill(both[1], "b"))

        async def is_copied() -> bool:
            return path.stat().st_size > 6_000_000

        await eventually(is_copied)
        assert path.with_name("everpost.db-wal").stat().st_size < 12_000_000
    finally:
        for opened in both:
            await opened.close()
    copy = sqlite3.connect(path)
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert copy.execute("SELECT count(*) FROM everpost_meta WHERE length(value) = 10000").fetchone() == (600,)
    copy.close()
