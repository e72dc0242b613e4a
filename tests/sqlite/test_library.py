"""The SQLite library of the store: one library for connections, rows and errors, and the process keeps its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
import asyncio, json, sys
from pathlib import Path
{before}
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import CORRUPTION_FIXED, LIBRARY, sqlite3
import aiosqlite, sqlite3 as usual

def fail(raw):
    raw.execute("SELECT no_such_column FROM task_queue")

async def main():
    opened = await Database.open(Path(sys.argv[1]))
    kind = await opened.read(lambda raw: type(raw).__module__)
    version = await opened.read(lambda raw: raw.execute("SELECT sqlite_version()").fetchone()[0])
    try:
        await opened.read(fail)
    except sqlite3.OperationalError as error:
        raised = type(error).__module__
    await opened.close()
    print(json.dumps({{
        "library": LIBRARY, "fixed": CORRUPTION_FIXED, "modules": [kind, raised], "version": version,
        "usual": [usual.__name__, aiosqlite.core.sqlite3.__name__, aiosqlite.Error.__module__],
    }}))

asyncio.run(main())
"""


@pytest.mark.parametrize("before", ["", "import aiosqlite, sqlite3", 'sys.modules["pysqlite3"] = None'])
def test_the_store_uses_one_library_and_the_process_keeps_its_own(tmp_path: Path, before: str) -> None:
    """Also where the process imported aiosqlite first, and where the newer library is not installed."""
    pytest.importorskip("pysqlite3", reason="the newer library is for Linux on x86-64 only")
    program = LOOK.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "everpost.db")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    name, version = found["library"].split()
    assert name == ("sqlite3" if "None" in before else "pysqlite3")
    assert found["version"] == version
    assert found["fixed"] == (tuple(map(int, version.split("."))) >= (3, 51, 3))
    assert found["modules"] == [name if name == "sqlite3" else "pysqlite3.dbapi2"] * 2
    assert found["usual"] == ["sqlite3"] * 3
