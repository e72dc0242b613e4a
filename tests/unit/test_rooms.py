"""What import-linter cannot see: SQL outside the rooms of the stores and their tests, words the glossary replaced."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORES = ROOT / "service" / "everpost" / "store"
ROOMS = (STORES / "sqlite", STORES / "postgresql")
SQL = re.compile(r"SELECT\s.+?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|PRAGMA\s", re.DOTALL)

TESTS = ROOT / "tests"
# The bench measures migrations, and peers that have a database.
TESTS_OF_STORES = (TESTS / "sqlite", TESTS / "postgresql", TESTS / "bench")
SERVERS = (TESTS / "postgresql_server.py",)
DRIVER = re.compile(
    r"^\s*(?:from|import) (?:sqlite3|aiosqlite|pysqlite3|asyncpg|psycopg)\b|everpost\.store\.(?:sqlite|postgresql)\.",
    re.MULTILINE,
)


def sources() -> Iterator[Path]:
    for folder in ("service", "workers"):
        yield from (ROOT / folder).rglob("*.py")


def has_sql(file: Path) -> bool:
    return SQL.search(file.read_text("utf-8")) is not None


def others(files: Iterable[Path], rooms: Sequence[Path]) -> Iterator[Path]:
    return (file for file in files if not any(map(file.is_relative_to, rooms)))


def test_no_file_outside_the_rooms_of_the_stores_has_sql_in_it() -> None:
    assert [file for file in others(sources(), ROOMS) if has_sql(file)] == []


def test_the_rooms_of_the_stores_have_sql_that_is_found() -> None:
    assert all(any(map(has_sql, room.rglob("*.py"))) for room in ROOMS)


def knows_a_store(file: Path) -> bool:
    return has_sql(file) or DRIVER.search(file.read_text("utf-8")) is not None


def test_only_the_tests_of_a_store_know_its_inside() -> None:
    files = others(TESTS.rglob("*.py"), (*TESTS_OF_STORES, *SERVERS))
    assert [file for file in files if file != Path(__file__) and knows_a_store(file)] == []


def test_the_tests_of_a_store_know_it() -> None:
    assert all(any(map(knows_a_store, folder.rglob("*.py"))) for folder in TESTS_OF_STORES)


INSIDE = re.compile(r"everpost_workers\.engine\.\w")
ARQ_SUITE = TESTS / "arq_suite"  # it is told the engine's class by its full name


def test_the_tests_of_the_engine_know_its_public_face_only() -> None:
    files = [file for file in others(TESTS.rglob("*.py"), (ARQ_SUITE,)) if INSIDE.search(file.read_text("utf-8"))]
    assert files == [TESTS / "engine_support.py"]  # it shortens the engine's waits


REPLACED = "settl|intake|resubmi|supersed|judg|recover"
NAMED = re.compile(rf"^\s*(?:(?:async )?def|class) \w*(?:{REPLACED})\w*", re.MULTILINE | re.IGNORECASE)


def test_no_function_class_or_file_is_named_with_a_word_that_the_glossary_replaced() -> None:
    files = [file for folder in ("service", "workers", "tests") for file in (ROOT / folder).rglob("*")]
    files = [file for file in files if file.suffix != ".pyc"]
    named = [found for file in files if file.suffix == ".py" for found in NAMED.findall(file.read_text("utf-8"))]
    assert named + [file for file in files if re.search(REPLACED, file.name)] == []
