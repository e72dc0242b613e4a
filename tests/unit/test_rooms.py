"""What import-linter cannot see: SQL outside the room of SQLite, SQLite in other tests, words the glossary replaced."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "service" / "everpost" / "store" / "sqlite"
SQL = re.compile(r"SELECT\s.+?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|PRAGMA\s", re.DOTALL)

TESTS = ROOT / "tests"
TESTS_OF_SQLITE = (TESTS / "sqlite", TESTS / "bench")  # the bench measures migrations, and peers that have a database
DRIVER = re.compile(r"^\s*(?:from|import) (?:sqlite3|aiosqlite|pysqlite3)\b|everpost\.store\.sqlite", re.MULTILINE)


def sources() -> Iterator[Path]:
    for folder in ("service", "workers"):
        yield from (ROOT / folder).rglob("*.py")


def has_sql(file: Path) -> bool:
    return SQL.search(file.read_text("utf-8")) is not None


def test_no_file_outside_the_room_of_sqlite_has_sql_in_it() -> None:
    assert [file for file in sources() if not file.is_relative_to(ROOM) and has_sql(file)] == []


def test_the_room_of_sqlite_has_sql_that_is_found() -> None:
    assert any(has_sql(file) for file in sources() if file.is_relative_to(ROOM))


def knows_sqlite(file: Path) -> bool:
    return has_sql(file) or DRIVER.search(file.read_text("utf-8")) is not None


def test_only_the_tests_of_sqlite_know_sqlite() -> None:
    others = [file for file in TESTS.rglob("*.py") if not any(map(file.is_relative_to, TESTS_OF_SQLITE))]
    assert [file for file in others if file != Path(__file__) and knows_sqlite(file)] == []


def test_the_tests_of_sqlite_know_it() -> None:
    assert all(any(knows_sqlite(file) for file in folder.rglob("*.py")) for folder in TESTS_OF_SQLITE)


REPLACED = "settl|intake|resubmi|supersed|judg|recover"
NAMED = re.compile(rf"^\s*(?:(?:async )?def|class) \w*(?:{REPLACED})\w*", re.MULTILINE | re.IGNORECASE)


def test_no_function_class_or_file_is_named_with_a_word_that_the_glossary_replaced() -> None:
    named = [found for file in sources() for found in NAMED.findall(file.read_text("utf-8"))]
    files = [file for folder in ("service", "workers") for file in (ROOT / folder).rglob("*") if file.suffix != ".pyc"]
    assert named + [file for file in files if re.search(REPLACED, file.name)] == []
