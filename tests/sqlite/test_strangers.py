"""Foreign objects that act on Everpost's tables: removed or refused, wherever the file comes from."""

import logging
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from everpost.cli.doctor import doctor
from everpost.clock import system_clock
from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.care.backup import back_up_database, check_integrity
from everpost.store.sqlite.care.restore import restore_database
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema import strangers
from everpost.store.sqlite.schema.import_queue import import_task_queue
from everpost.store.sqlite.schema.migrate import migrate
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from sqlite.original_database import make_original, make_task_queue
from sqlite.rows import accept, add_ended, select
from store_rows import make_task

ENDLESS = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)"
DELETES = "CREATE TRIGGER hostile AFTER INSERT ON task_queue BEGIN DELETE FROM task_queue; END"
NEVER_ENDS = (
    f"CREATE TRIGGER slow AFTER INSERT ON task_queue BEGIN INSERT INTO meanwhile {ENDLESS} SELECT i FROM n; END"
)
ENDLESS_VIEW = f"CREATE VIEW endless AS {ENDLESS} SELECT i FROM n"
ONE_TITLE = "CREATE UNIQUE INDEX one_title ON task_queue (title)"
CALCULATED = "CREATE INDEX calculated ON publish_tasks (length(hex(zeroblob(10))) + length(title))"
PARTIAL = "CREATE INDEX some ON publish_tasks (title) WHERE title LIKE '%a%a%'"
PLAIN = "CREATE INDEX plain ON publish_tasks (title)"
REMOVED = (DELETES, "CREATE TABLE meanwhile (i)", NEVER_ENDS, ONE_TITLE, CALCULATED, PARTIAL)
HOSTILE_NAMES = {"hostile", "slow", "one_title", "calculated", "some"}
REFUSED = {
    "CHECK": ("title TEXT,", "title TEXT CHECK (title <> 'b'),"),
    "GENERATED": ("title TEXT,", "title TEXT, spin TEXT GENERATED ALWAYS AS (hex(zeroblob(9))) STORED,"),
    "ON CONFLICT": ("task_id TEXT UNIQUE NOT NULL", "task_id TEXT UNIQUE ON CONFLICT REPLACE NOT NULL"),
    "REFERENCES": ("title TEXT,", "title TEXT REFERENCES other (id) ON DELETE CASCADE,"),
    "must be unique": ("title TEXT,", "title TEXT UNIQUE,"),
    "must not be NULL": ("title TEXT,", "title TEXT, strict TEXT NOT NULL,"),
}


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def names_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}


def spoil(path: Path, change: tuple[str, str]) -> None:
    """Make the ledger anew with another definition, as every program with write access can."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'task_queue'").fetchone()
        words = " ".join(line.split("--")[0] for line in sql.splitlines())
        flat = " ".join(words.split())
        assert change[0] in flat
        connection.execute("DROP TABLE task_queue")
        connection.execute(flat.replace(*change))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(tmp_path / "everpost.db")
    return tmp_path / "everpost.db"


async def works(path: Path) -> None:
    """See that a task that is accepted is there, and can end."""
    database = await Database.open(path)
    try:
        await accept(database, make_task("a"), make_task("b"))
        await add_ended(database, make_task("c"))
        assert await SqliteLedger(database).count_unfinished() >= 2
        assert await select(database, "SELECT job_id FROM publish_tasks WHERE job_id = 'c'") == [("c",)]
    finally:
        await database.close()


async def test_a_start_removes_foreign_objects_on_everposts_tables_and_logs_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(path, *REMOVED, PLAIN, ENDLESS_VIEW)
    with caplog.at_level(logging.WARNING, "everpost.store"):
        report = migrate(path)
    assert len(report.removed) == len(HOSTILE_NAMES)
    assert "DELETE FROM task_queue" in caplog.text
    assert not names_of(path) & HOSTILE_NAMES
    assert {"plain", "endless", "meanwhile"} <= names_of(path)  # they do nothing by themselves
    await works(path)


async def test_a_restore_leaves_out_all_that_is_not_ours_and_acts(tmp_path: Path, path: Path) -> None:
    backup = tmp_path / "backup.db"
    back_up_database(path, backup)
    run(backup, *REMOVED, ENDLESS_VIEW, "CREATE VIRTUAL TABLE words USING fts5 (text)")
    pause = restore_database(backup, path, system_clock())
    assert {name.split()[1] for name in pause.left_out} >= HOSTILE_NAMES | {"endless", "table"}
    assert not names_of(path) & {*HOSTILE_NAMES, "endless", "words"}
    assert "hostile" in names_of(backup)
    await works(path)


def test_an_original_file_is_adopted_without_its_triggers_which_its_backup_keeps(tmp_path: Path) -> None:
    path = make_original(tmp_path / "original.db", statements=(*REMOVED[:3], ENDLESS_VIEW))
    report = migrate(path)
    assert not names_of(path) & HOSTILE_NAMES
    assert report.backup is not None
    assert "hostile" in names_of(report.backup)


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_changed_table_that_drops_or_refuses_rows_is_refused_and_nothing_changed(
    tmp_path: Path, path: Path, what: str
) -> None:
    backup = tmp_path / "backup.db"
    back_up_database(path, backup)
    for spoilt in (path, backup):
        spoil(spoilt, REFUSED[what])
    before = path.read_bytes()
    with pytest.raises(DatabaseUnusable, match=what):
        migrate(path)
    with pytest.raises(DatabaseUnusable, match=what):
        restore_database(backup, path, system_clock())
    assert path.read_bytes() == before


def test_an_import_takes_no_rows_that_a_view_calculates(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "task_queue.db"
    run(source, f"CREATE VIEW task_queue AS {ENDLESS} SELECT i AS task_id, 'publish' AS task_type FROM n")
    with pytest.raises(DatabaseUnusable, match="not a plain table"):
        import_task_queue(path, source)
    other = make_task_queue(tmp_path / "other.db")
    run(other, "ALTER TABLE task_queue ADD COLUMN spin TEXT AS (hex(zeroblob(9)))")
    with pytest.raises(DatabaseUnusable, match="not a plain table"):
        import_task_queue(path, other)


def test_a_search_index_that_is_another_virtual_table_is_refused(path: Path) -> None:
    run(path, "DROP TABLE publish_tasks_search", "CREATE VIRTUAL TABLE publish_tasks_search USING fts5 (text, extra)")
    with pytest.raises(DatabaseUnusable, match="another virtual table"):
        migrate(path)


def test_a_check_that_does_not_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "SHORTEST_CHECK_S", -1e6)
    monkeypatch.setattr(strangers, "CHECK_EVERY", 1)
    with pytest.raises(DatabaseUnusable, match="takes longer"):
        check_integrity(path, "damaged")


def test_doctor_finds_them_and_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path, DELETES)
    monkeypatch.setenv("EVERPOST_DATABASE", str(path))
    answer = CliRunner().invoke(doctor, ["--fast", "--json"], standalone_mode=False)
    assert "trigger hostile on task_queue" in answer.output
    assert "hostile" in names_of(path)
