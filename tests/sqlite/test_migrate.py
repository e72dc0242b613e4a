"""A database file is made, completed or adopted at start, and nothing in it is ever lost."""

import hashlib
import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everpost.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnusable, DatabaseUnwritable
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema import adopt, schema
from everpost.store.sqlite.schema import migrate as module
from everpost.store.sqlite.schema.migrate import MigrationReport, migrate
from everpost.store.sqlite.schema.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    addable,
    column_definitions,
    find_missing,
    read_schema,
    wanted_schema,
)
from sqlite.original_database import (
    FILE_RECORDS,
    NOT_UTF8,
    PUBLISH_TASKS,
    Raw,
    finished_task,
    insert,
    make_original,
    queued_task,
    run,
)

ORIGINALS_SQL = "SELECT celery_task_id, task_data FROM publish_tasks WHERE celery_task_id = 'celery-1'"
ADDED_BY_THE_ORIGINAL = ("celery_task_id", "completed_at", "task_data", "priority")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "everpost.db"


def assert_complete(path: Path) -> None:
    """The file has all that `schema.sql` says, is sound, marked as ours, and in WAL mode."""
    with closing(sqlite3.connect(path)) as connection:
        missing = find_missing(wanted_schema(), read_schema(connection))
    assert not missing
    assert run(path, "PRAGMA integrity_check") == [("ok",)]
    assert run(path, "PRAGMA journal_mode") == [("wal",)]
    assert run(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert run(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert counted(path) == tallied(path)


def counted(path: Path) -> list[tuple[Any, ...]]:
    return run(path, "SELECT source, status, platform, tasks FROM task_counts WHERE tasks <> 0 ORDER BY 1, 2, 3")


def tallied(path: Path) -> list[tuple[Any, ...]]:
    one = "SELECT '{0}', ifnull(status, ''), ifnull(platform, ''), count(*) FROM {0} GROUP BY 2, 3"
    return run(path, f"{one.format('publish_tasks')} UNION ALL {one.format('task_queue')} ORDER BY 1, 2, 3")


def values(path: Path, table: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Every value of a table, byte for byte and with its type."""
    exact = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in columns)
    return run(path, f"SELECT {exact} FROM {table} ORDER BY rowid")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.before-everpost*"))


# --- Fresh and current files


def test_a_fresh_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "yet.db"
    report = migrate(path)
    assert report.kind == "fresh"
    assert report.backup is None
    assert report.columns_added == {}
    assert set(report.tables_added) == set(wanted_schema().tables)
    assert_complete(path)


def test_an_empty_file_counts_as_fresh(path: Path) -> None:
    path.touch()
    assert migrate(path).kind == "fresh"
    assert_complete(path)


def test_a_second_start_changes_not_a_byte(path: Path) -> None:
    migrate(path)
    before = digest(path)
    report = migrate(path)
    assert report == MigrationReport(kind="current", took_s=report.took_s)
    assert digest(path) == before


def test_a_second_start_waits_for_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(path)
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO everpost_meta VALUES ('a', 'b')")
        assert migrate(path).kind == "current"


def test_a_file_that_left_wal_mode_is_put_back(path: Path) -> None:
    migrate(path)
    run(path, "PRAGMA journal_mode = DELETE")
    assert migrate(path).kind == "current"
    assert_complete(path)


def test_counts_follow_the_rows(path: Path) -> None:
    migrate(path)
    insert(path, "publish_tasks", {"job_id": "a", "status": "failed", "platform": "1"})
    insert(path, "task_queue", queued_task(1))
    run(path, "UPDATE publish_tasks SET status = 'success'", "DELETE FROM task_queue")
    assert counted(path) == tallied(path) == [("publish_tasks", "success", "1", 1)]


# --- Original files


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("without", [(), *((name,) for name in ADDED_BY_THE_ORIGINAL), ADDED_BY_THE_ORIGINAL])
def test_an_original_file_is_adopted_in_place(
    path: Path, without: tuple[str, ...], *, unique: bool, queue: bool
) -> None:
    make_original(path, without=without, unique=unique, queue=queue)
    kept = tuple(name for name in PUBLISH_TASKS if name not in without)
    rows = [{name: value for name, value in finished_task(n).items() if name in kept} for n in range(3)]
    insert(path, "publish_tasks", *rows)
    before, materials = values(path, "publish_tasks", kept), values(path, "file_records", tuple(FILE_RECORDS))
    report = migrate(path)
    assert report.kind == "original"
    assert values(path, "publish_tasks", kept) == before
    assert values(path, "file_records", tuple(FILE_RECORDS)) == materials
    assert run(path, "SELECT file_id, created_at FROM file_records") == [("1", None)]
    assert report.null_ids == (3 if "celery_task_id" in without else 0)
    assert_complete(path)
    assert migrate(path).kind == "current"


def test_the_backup_is_the_file_as_it_was(path: Path) -> None:
    make_original(path)
    path.chmod(0o640)
    insert(path, "publish_tasks", *(finished_task(n) for n in range(3)))
    columns = tuple(PUBLISH_TASKS)
    before = values(path, "publish_tasks", columns)
    backup = migrate(path).backup
    assert backup is not None
    assert backups(path) == [backup]
    assert values(backup, "publish_tasks", columns) == before
    assert run(backup, "PRAGMA application_id") == [(0,)]
    assert backup.stat().st_mode & 0o777 == 0o640


def test_an_original_file_in_wal_mode_is_adopted_with_the_rows_in_its_wal(path: Path) -> None:
    make_original(path)
    with closing(sqlite3.connect(path)) as open_elsewhere:
        open_elsewhere.execute("PRAGMA journal_mode = WAL")
        insert(path, "publish_tasks", finished_task(1))
        backup = migrate(path).backup
        assert backup is not None
        assert len(run(backup, ORIGINALS_SQL)) == len(open_elsewhere.execute(ORIGINALS_SQL).fetchall()) == 1
    assert_complete(path)


def test_the_originals_look_up_works_on_an_adopted_file(path: Path) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", *(finished_task(n) for n in range(50)))
    migrate(path)
    assert run(path, ORIGINALS_SQL) == [("celery-1", finished_task(1)["task_data"])]
    plan = run(path, "EXPLAIN QUERY PLAN " + ORIGINALS_SQL.replace("WHERE celery_task_id", "WHERE job_id"))
    assert "SEARCH publish_tasks USING INDEX publish_tasks_job_id" in plan[0][3]


def test_the_originals_lines_are_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_original(path, without=("task_data", "priority"))
    with caplog.at_level(logging.INFO, "everpost.store"):
        report = migrate(path)
    assert "[DB] Adding column to table publish_tasks: task_data" in caplog.messages
    assert "[DB] Adding column to table publish_tasks: priority" in caplog.messages
    added = sum(len(columns) for columns in report.columns_added.values())
    assert f"[DB] Added {added} columns" in caplog.messages
    assert any(line.startswith("[DB] Backup of the original database: ") for line in caplog.messages)


def test_exactly_the_originals_two_lines_for_an_everpost_file_without_those_columns(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(path)
    damage(path, "ALTER TABLE publish_tasks DROP COLUMN task_data", "ALTER TABLE publish_tasks DROP COLUMN priority")
    with caplog.at_level(logging.INFO, "everpost.store"):
        migrate(path)
    assert caplog.messages == [
        "[DB] Adding column to table publish_tasks: task_data",
        "[DB] Adding column to table publish_tasks: priority",
        "[DB] Added 2 columns",
    ]


def test_nothing_is_logged_when_nothing_is_missing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    migrate(path)
    with caplog.at_level(logging.INFO, "everpost.store"):
        migrate(path)
    assert caplog.messages == []


def test_old_rows_get_the_default_priority_where_the_column_is_new(path: Path) -> None:
    make_original(path, without=("priority",))
    row = finished_task(1)
    del row["priority"]
    insert(path, "publish_tasks", row)
    migrate(path)
    assert run(path, "SELECT priority, task_data IS NULL FROM publish_tasks") == [(5, 0)]


def test_duplicate_ids_are_reported_and_all_rows_stay(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", *(finished_task(n % 2) for n in range(5)), finished_task(7))
    report = migrate(path)
    assert (report.duplicates, sorted(report.duplicate_sample)) == (2, ["celery-0", "celery-1"])
    assert run(path, "SELECT count(*) FROM publish_tasks") == [(6,)]
    assert any("2 ids occur more than once" in line for line in caplog.messages)
    before = digest(path)
    again = migrate(path)
    assert (again.kind, again.duplicates) == ("current", 2)
    assert digest(path) == before


def test_while_there_are_duplicates_look_ups_are_fast_and_new_ids_are_unique(path: Path) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", finished_task(1), finished_task(1))
    migrate(path)
    plan = run(path, "EXPLAIN QUERY PLAN SELECT 1 FROM publish_tasks WHERE job_id = 'x'")
    assert "publish_tasks_job_id" in plan[0][3]
    insert(path, "publish_tasks", {"job_id": "new"})
    with pytest.raises(sqlite3.IntegrityError):
        insert(path, "publish_tasks", {"job_id": "new"})


def test_the_unique_index_comes_once_the_duplicates_are_gone(path: Path) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", finished_task(1), finished_task(1))
    migrate(path)
    run(path, "DELETE FROM publish_tasks WHERE task_id = 2")
    report = migrate(path)
    assert (report.kind, report.duplicates, report.indexes_added) == ("older", 0, ("publish_tasks_job_id",))
    assert_complete(path)
    assert run(path, "SELECT name FROM sqlite_schema WHERE name LIKE '%_later'") == []


def test_rows_without_an_id_stay(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", *(finished_task(n, celery_task_id=None) for n in range(3)))
    report = migrate(path)
    assert (report.null_ids, report.duplicates) == (3, 0)
    assert any("3 rows of publish_tasks have no id" in line for line in caplog.messages)
    assert_complete(path)


def test_a_row_without_a_time_gets_one_to_be_listed_by(path: Path) -> None:
    make_original(path)
    insert(
        path,
        "publish_tasks",
        finished_task(1, created_at=None, updated_at="2024-05-06 07:08:09"),
        finished_task(2, created_at=None, updated_at=None),
        finished_task(3, created_at="some day", updated_at=None),
    )
    migrate(path)
    times = run(path, "SELECT created_at, updated_at FROM publish_tasks ORDER BY task_id")
    assert times == [
        ("2024-05-06 07:08:09", "2024-05-06 07:08:09"),
        ("1970-01-01 00:00:00", None),
        ("some day", None),
    ]


def test_inherited_ledger_rows_never_run_and_can_be_filtered(path: Path) -> None:
    make_original(path)
    rows = [
        queued_task(1),
        queued_task(2, data="{not json"),
        queued_task(3, data=None),
        queued_task(4, data='{"platform": {"a": 1}, "account_id": 7, "title": null}'),
        queued_task(5, data=NOT_UTF8),
        queued_task(6, data=b'{"platform": 1}', status="processing"),
    ]
    insert(path, "task_queue", *rows)
    columns = ("id", "task_id", "task_type", "status", "data", "created_at", "started_at")
    before = values(path, "task_queue", columns)
    migrate(path)
    assert values(path, "task_queue", columns) == before
    nothing = (None, None, None, None)
    assert run(path, "SELECT platform, account_id, title, accepted_by FROM task_queue ORDER BY id") == [
        ("1", "test_account", "测试视频", None),
        nothing,
        nothing,
        (None, "7", None, None),
        nothing,
        nothing,
    ]
    assert_complete(path)


def test_odd_values_survive_untouched(path: Path) -> None:
    make_original(path)
    rows = [
        finished_task(1, status="完成", created_at="昨天", task_data="not json", title=NOT_UTF8),
        finished_task(2, status=NOT_UTF8, platform=b"\xff\x00", error_message="a\x00b", priority="high"),
        finished_task(3, celery_task_id=NOT_UTF8, created_at=1_700_000_000, task_data='{"emoji": "😀"}'),
    ]
    insert(path, "publish_tasks", *rows)
    columns = tuple(PUBLISH_TASKS)
    before = values(path, "publish_tasks", columns)
    migrate(path)
    assert values(path, "publish_tasks", columns) == before
    assert run(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_file_in_utf_16_is_adopted(path: Path) -> None:
    run(path, "PRAGMA encoding = 'UTF-16le'", "CREATE TABLE first (a)")
    make_original(path)
    insert(path, "publish_tasks", finished_task(1))
    migrate(path)
    assert run(path, ORIGINALS_SQL) == [("celery-1", finished_task(1)["task_data"])]
    assert_complete(path)


def test_tables_indexes_and_views_of_others_stay(path: Path) -> None:
    others = (
        "CREATE INDEX mine ON publish_tasks (celery_task_id, title)",
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, cookie BLOB)",
        "INSERT INTO accounts VALUES (1, x'00ff')",
        "CREATE VIEW recent AS SELECT celery_task_id AS id FROM publish_tasks WHERE celery_task_id IS NOT NULL",
        "CREATE TRIGGER noted AFTER INSERT ON accounts BEGIN UPDATE accounts SET cookie = NULL WHERE 0; END",
    )
    make_original(path, statements=others)
    insert(path, "publish_tasks", finished_task(1))
    migrate(path)
    assert run(path, "SELECT * FROM accounts") == [(1, b"\x00\xff")]
    assert run(path, "SELECT id FROM recent") == [("celery-1",)]
    assert run(path, "SELECT count(*) FROM sqlite_schema WHERE name IN ('mine', 'noted')") == [(2,)]


def test_a_full_disk_is_said_before_anything_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_original(path)
    before = digest(path)
    monkeypatch.setattr(adopt, "ROOM_SPARE_BYTES", 2**62)
    with pytest.raises(DatabaseUnwritable, match="MiB left"):
        migrate(path)
    assert digest(path) == before
    assert backups(path) == []


# --- Older Everpost files

BREAKAGES = {
    "a column": ("ALTER TABLE publish_tasks DROP COLUMN publish_url",),
    "a virtual column": ("ALTER TABLE publish_tasks_archive DROP COLUMN celery_task_id",),
    "a column that must not be NULL": ("ALTER TABLE operations DROP COLUMN total",),
    "a column with the time as its default": ("ALTER TABLE publish_tasks DROP COLUMN updated_at",),
    "an index": ("DROP INDEX task_queue_created", "DROP INDEX publish_tasks_status"),
    "an index that was defined otherwise": (
        "DROP INDEX publish_tasks_batch",
        "CREATE INDEX publish_tasks_batch ON publish_tasks (batch_id)",
    ),
    "a trigger": ("DROP TRIGGER publish_tasks_counted_in",),
    "a trigger that did something else": (
        "DROP TRIGGER publish_tasks_counted_in",
        "CREATE TRIGGER publish_tasks_counted_in AFTER INSERT ON publish_tasks BEGIN SELECT 1; END",
    ),
    "a table": ("DROP TABLE operations", "DROP TABLE everpost_meta"),
    "the counts": ("DROP TABLE task_counts",),
    "the search": ("DROP TABLE publish_tasks_search",),
    "a version": ("PRAGMA user_version = 0",),
}


DROP_COLUMN = re.compile(r"ALTER TABLE (\w+) DROP COLUMN (\w+)")


def damage(path: Path, *statements: str) -> None:
    """Run the statements; before a column goes, the indexes and triggers go that speak of it, or SQLite refuses."""
    for table, column in (match.groups() for match in map(DROP_COLUMN.match, statements) if match):
        users = run(path, f"SELECT type, name FROM sqlite_schema WHERE tbl_name = '{table}' AND sql LIKE '%{column}%'")
        run(path, *(f"DROP {kind} {name}" for kind, name in users if kind != "table"))
    run(path, *statements)


@pytest.mark.parametrize("lost", BREAKAGES)
def test_an_older_file_is_completed(path: Path, lost: str) -> None:
    migrate(path)
    insert(path, "publish_tasks", {"job_id": "a", "status": "failed", "created_at": "2026-01-01T00:00:00.000Z"})
    damage(path, *BREAKAGES[lost])
    if "task_counts" not in BREAKAGES[lost][0]:
        insert(path, "publish_tasks", {"job_id": "b", "created_at": "2026-01-01T00:00:00.000Z"})
    report = migrate(path)
    assert (report.kind, report.backup) == ("older", None)
    assert run(path, "SELECT job_id FROM publish_tasks WHERE job_id = 'a'") == [("a",)]
    assert_complete(path)
    assert migrate(path).kind == "current"


def test_a_column_of_a_later_hand_stays(path: Path) -> None:
    migrate(path)
    run(path, "ALTER TABLE publish_tasks ADD COLUMN note TEXT DEFAULT 'kept'")
    insert(path, "publish_tasks", {"job_id": "a"})
    assert migrate(path).kind == "current"
    assert run(path, "SELECT note FROM publish_tasks") == [("kept",)]


# --- Files that cannot be used


def test_a_file_of_a_newer_everpost_is_refused_untouched(path: Path) -> None:
    migrate(path)
    run(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = digest(path)
    with pytest.raises(DatabaseUnusable, match="made by a newer Everpost"):
        migrate(path)
    assert digest(path) == before


def test_a_file_of_another_program_is_refused_untouched(path: Path) -> None:
    run(path, "PRAGMA application_id = 252006674", "CREATE TABLE other (a)")
    before = digest(path)
    with pytest.raises(DatabaseUnusable, match="belongs to another program"):
        migrate(path)
    assert digest(path) == before


def test_a_table_that_only_has_our_name_is_refused_untouched(path: Path) -> None:
    run(path, "CREATE TABLE publish_tasks (name TEXT PRIMARY KEY, body TEXT)")
    before = digest(path)
    with pytest.raises(DatabaseUnusable, match="another program"):
        migrate(path)
    assert digest(path) == before
    assert backups(path) == []


def test_a_file_that_is_not_a_database_is_refused_untouched(path: Path) -> None:
    path.write_text("Dear diary, " * 1_000, encoding="utf-8")
    before = digest(path)
    with pytest.raises(DatabaseUnusable, match="not an SQLite database"):
        migrate(path)
    assert digest(path) == before


def test_a_damaged_file_is_refused_with_what_to_do(path: Path) -> None:
    make_original(path)
    content = bytearray(path.read_bytes())
    content[100:4_000] = b"\xa5" * 3_900
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match="restore a backup"):
        migrate(path)
    assert path.read_bytes() == content


def test_damage_among_the_rows_is_found_before_an_original_file_is_changed(path: Path) -> None:
    make_original(path)
    insert(path, "publish_tasks", *(finished_task(n) for n in range(500)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4_096 * 4_096
    content[middle : middle + 4_096] = b"\xa5" * 4_096
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="restore a backup"):
        migrate(path)
    assert path.read_bytes() == content
    assert backups(path) == []


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnwritable, match="unable to open"):
        migrate(tmp_path)


def test_a_file_in_place_of_its_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnwritable):
        migrate(tmp_path / "file" / "everpost.db")


def test_a_lock_that_stays_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_original(path)
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            migrate(path)


# --- Several processes, and crashes

START = """
import sys
from pathlib import Path
from everpost.store.sqlite.schema.migrate import migrate
print("ready", flush=True)
sys.stdin.readline()
report = migrate(Path(sys.argv[1]))
print(report.kind, report.backup is not None)
"""

DIE = """
import os, signal, sys
from pathlib import Path
from everpost.store.sqlite.schema import adopt
from everpost.store.sqlite.schema.migrate import migrate
setattr(adopt, sys.argv[2], lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
migrate(Path(sys.argv[1]))
"""


def start_together(path: Path, count: int) -> list[str]:
    """What so many processes report that all start at once."""
    command = [sys.executable, "-c", START, str(path)]
    pipe = subprocess.PIPE
    starters = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    answers = [starter.communicate(timeout=60)[0].strip() for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * count
    return sorted(answers)


def die_in(path: Path, function: str) -> None:
    """Start a process that is killed when it comes to a function of `adopt`."""
    done = subprocess.run([sys.executable, "-c", DIE, str(path), function], check=False, timeout=60)
    assert done.returncode == -9


@pytest.mark.chaos
def test_eight_processes_make_one_fresh_file(path: Path) -> None:
    assert start_together(path, 8) == [*["current False"] * 7, "fresh False"]
    assert_complete(path)


def test_eight_processes_adopt_an_original_file_once_with_one_backup(path: Path) -> None:
    make_original(path, unique=False)
    insert(path, "publish_tasks", *(finished_task(n) for n in range(2_000)))
    assert start_together(path, 8) == [*["current False"] * 7, "original True"]
    assert len(backups(path)) == 1
    assert run(path, "SELECT count(*) FROM publish_tasks") == [(2_000,)]
    assert_complete(path)


@pytest.mark.parametrize("function", ["flush", "complete_rows", "count_tasks", "count_null_ids"])
def test_a_start_killed_in_the_middle_leaves_the_file_as_it_was(path: Path, function: str) -> None:
    make_original(path, without=("priority", "task_data"), unique=False)
    kept = tuple(name for name in PUBLISH_TASKS if name not in {"priority", "task_data"})
    rows = [{name: value for name, value in finished_task(n).items() if name in kept} for n in range(2_000)]
    insert(path, "publish_tasks", *rows)
    before, tables = values(path, "publish_tasks", kept), run(path, "SELECT sql FROM sqlite_schema ORDER BY 1")
    die_in(path, function)
    assert run(path, "SELECT sql FROM sqlite_schema ORDER BY 1") == tables
    assert values(path, "publish_tasks", kept) == before
    report = migrate(path)
    assert report.kind == "original"
    assert values(path, "publish_tasks", kept) == before
    assert len(backups(path)) == 1
    assert report.backup in backups(path)
    assert_complete(path)


def test_a_fresh_file_whose_maker_was_killed_is_made(path: Path) -> None:
    die_in(path, "count_tasks")
    assert migrate(path).kind == "fresh"
    assert_complete(path)


def test_a_migration_that_fails_leaves_no_backup_of_an_unchanged_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_original(path)
    before = digest(path)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("no more")

    monkeypatch.setattr(adopt, "count_tasks", fail)
    with pytest.raises(DatabaseUnusable, match="Nothing in it was changed"):
        migrate(path)
    assert backups(path) == []
    assert digest(path) == before


# --- Any file


class OddFile(NamedTuple):
    without: frozenset[str]
    unique: bool
    queue: bool
    indexed: bool
    rows: list[Mapping[str, Any]]


ODD_VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.binary(max_size=12),
    st.binary(max_size=12).map(lambda raw: Raw(f"CAST(x'{raw.hex()}' AS TEXT)")),
    st.sampled_from(["success", "failed", "2025-01-01 08:00:00", "{}", "[1", "celery-1", "1"]),
)


@st.composite
def odd_files(draw: st.DrawFn) -> OddFile:
    optional = [name for name in PUBLISH_TASKS if name != "task_id"]
    without = draw(st.frozensets(st.sampled_from(optional), max_size=len(optional) - 1))
    columns = [name for name in optional if name not in without]
    row = st.dictionaries(st.sampled_from(columns), ODD_VALUES, min_size=1)
    return OddFile(without, draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), draw(st.lists(row)))


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) for number in range(1_000_000))


@given(odd=odd_files())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_old_value_survives_whatever_the_file(folders: Iterator[Path], odd: OddFile) -> None:
    folder = next(folders)
    folder.mkdir()
    path = make_original(folder / "everpost.db", without=odd.without, unique=odd.unique, queue=odd.queue)
    columns = tuple(name for name in PUBLISH_TASKS if name not in odd.without)
    if odd.indexed:
        run(path, f"CREATE INDEX of_its_own ON publish_tasks ({columns[-1]})")
    for row in odd.rows:
        try:
            insert(path, "publish_tasks", row)
        except sqlite3.IntegrityError:  # the id occurs already, in a file where it is UNIQUE
            assert odd.unique
    comparable = tuple(name for name in columns if name != "created_at")
    before = values(path, "publish_tasks", comparable)
    report = migrate(path)
    assert report.kind == "original"
    assert values(path, "publish_tasks", comparable) == before
    assert run(path, "PRAGMA integrity_check") == [("ok",)]
    assert run(path, "SELECT count(*) FROM publish_tasks WHERE created_at IS NULL") == [(0,)]
    if not report.duplicates:
        assert_complete(path)
    unchanged = digest(path)
    assert migrate(path).kind == "current"
    assert digest(path) == unchanged


# --- Reading schema.sql


def test_every_columns_definition_is_found_in_the_schema() -> None:
    for table in wanted_schema().tables.values():
        if not table.sql.upper().startswith("CREATE VIRTUAL"):
            assert all(table.columns.values()), table.name
            assert [name for name, _ in column_definitions(table.sql)][: len(table.columns)] == list(table.columns)


@pytest.mark.parametrize(
    ("definition", "added"),
    [
        ("job_id TEXT UNIQUE", "job_id TEXT"),
        ("created_at DATETIME DEFAULT CURRENT_TIMESTAMP", "created_at DATETIME"),
        ("task_id TEXT UNIQUE NOT NULL", "task_id TEXT"),
        ("done INTEGER NOT NULL DEFAULT 0", "done INTEGER NOT NULL DEFAULT 0"),
        ("mode TEXT DEFAULT 'auto'", "mode TEXT DEFAULT 'auto'"),
    ],
)
def test_a_definition_is_cut_down_to_what_a_column_can_be_added_with(definition: str, added: str) -> None:
    assert addable(definition) == added


def test_definitions_are_split_at_the_outer_commas_only() -> None:
    sql = """CREATE TABLE "t" ( -- a, comment (with both
        "A b" DECIMAL(10, 2) DEFAULT 'x, ''y'' (', /* , */ b TEXT GENERATED ALWAYS AS (ifnull(a, 'z')) VIRTUAL,
        PRIMARY KEY (a, b)
    ) WITHOUT ROWID"""
    assert list(column_definitions(sql)) == [
        ("a b", "\"A b\" DECIMAL(10, 2) DEFAULT 'x, ''y'' ('"),
        ("b", "b TEXT GENERATED ALWAYS AS (ifnull(a, 'z')) VIRTUAL"),
        ("primary", "PRIMARY KEY (a, b)"),
    ]


def test_an_installed_package_finds_its_own_copy_of_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, checkout = tmp_path / "schema.sql", tmp_path / "nowhere.sql"
    copy.write_text("CREATE TABLE only_here (a)", encoding="utf-8")
    monkeypatch.setattr(schema, "_PLACES", (copy, checkout))
    assert schema.schema_text() == "CREATE TABLE only_here (a)"
