"""What import-linter cannot see: SQL written outside the room of SQLite."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "service" / "everpost" / "store" / "sqlite"
SQL = re.compile(r"SELECT\s.+?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|PRAGMA\s", re.DOTALL)


def sources() -> Iterator[Path]:
    for folder in ("service", "workers"):
        yield from (ROOT / folder).rglob("*.py")


def has_sql(file: Path) -> bool:
    return SQL.search(file.read_text("utf-8")) is not None


def test_no_file_outside_the_room_of_sqlite_has_sql_in_it() -> None:
    assert [file for file in sources() if not file.is_relative_to(ROOM) and has_sql(file)] == []


def test_the_room_of_sqlite_has_sql_that_is_found() -> None:
    assert any(has_sql(file) for file in sources() if file.is_relative_to(ROOM))
