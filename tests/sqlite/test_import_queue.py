"""The ledger of an original system's second file is copied into ours, whole, and as often as one likes."""

from pathlib import Path
from typing import Any

import pytest

from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.schema import import_queue as module
from everpost.store.sqlite.schema.import_queue import import_task_queue
from everpost.store.sqlite.schema.migrate import migrate
from sqlite.original_database import NOT_UTF8, TASK_QUEUE, insert, make_original, make_task_queue, queued_task, run

COLUMNS = tuple(name for name in TASK_QUEUE if name != "id")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "everpost.db"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_task_queue(tmp_path / "task_queue.db")


def rows_of(path: Path) -> list[tuple[object, ...]]:
    exact = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in COLUMNS)
    return run(path, f"SELECT {exact} FROM task_queue ORDER BY task_id")


def test_every_row_is_copied_and_never_runs_on_its_own(path: Path, source: Path) -> None:
    odd = [queued_task(8, data="no json", status="完成"), queued_task(9, data=NOT_UTF8, result=b"\xff\x00")]
    insert(source, "task_queue", *(queued_task(n) for n in range(5)), *odd)
    report = import_task_queue(path, source)
    assert (report.read, report.added, report.present, report.without_id) == (7, 7, 0, 0)
    assert rows_of(path) == rows_of(source)
    assert run(path, "SELECT count(*) FROM task_queue WHERE accepted_by IS NOT NULL") == [(0,)]
    found = run(path, "SELECT platform, account_id, title FROM task_queue WHERE task_id = 'queue-3'")
    assert found == [("1", "test_account", "测试视频")]
    assert run(path, "SELECT sum(tasks) FROM task_counts WHERE source = 'task_queue'") == [(7,)]


def test_importing_again_adds_only_new_rows(path: Path, source: Path) -> None:
    insert(source, "task_queue", queued_task(1), queued_task(2))
    import_task_queue(path, source)
    insert(source, "task_queue", queued_task(3))
    run(path, "UPDATE task_queue SET status = 'failed' WHERE task_id = 'queue-1'")
    report = import_task_queue(path, source)
    assert (report.read, report.added, report.present) == (3, 1, 2)
    assert run(path, "SELECT status FROM task_queue WHERE task_id = 'queue-1'") == [("failed",)]


def test_a_task_that_moved_on_does_not_come_back(path: Path, source: Path) -> None:
    insert(source, "task_queue", queued_task(1), queued_task(2), queued_task(3, data=None), queued_task(4))
    import_task_queue(path, source)
    moved = "(job_id, task_data, created_at) SELECT task_id, data, created_at FROM task_queue WHERE task_id"
    run(
        path,
        f"INSERT INTO publish_tasks {moved} IN ('queue-1', 'queue-3')",
        f"INSERT INTO publish_tasks_archive {moved} = 'queue-2'",
        "DELETE FROM task_queue",
    )
    report = import_task_queue(path, source)
    assert (report.added, report.present) == (1, 3)
    assert run(path, "SELECT task_id FROM task_queue") == [("queue-4",)]


def test_a_history_row_without_its_data_does_not_keep_the_data_out(path: Path, source: Path) -> None:
    make_original(path)
    insert(path, "publish_tasks", {"celery_task_id": "queue-1", "status": "failed"})
    insert(source, "task_queue", queued_task(1))
    assert import_task_queue(path, source).added == 1


def test_a_long_source_is_copied_in_chunks_with_progress(
    path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 10)
    insert(source, "task_queue", *(queued_task(n, id=n - 7) for n in range(25)))
    seen: list[tuple[int, int]] = []
    report = import_task_queue(path, source, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert report.added == 25


def test_an_import_that_broke_off_goes_on(path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 10)
    insert(source, "task_queue", *(queued_task(n) for n in range(25)))

    def stop(done: int, _total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_task_queue(path, source, stop)
    report = import_task_queue(path, source)
    assert (report.added, report.present) == (5, 20)
    assert rows_of(path) == rows_of(source)


def test_a_source_that_is_loosely_defined_gives_what_it_has(path: Path, tmp_path: Path) -> None:
    source = make_task_queue(
        tmp_path / "loose.db", without=("created_at", "data", "max_retries"), task_id="TEXT", task_type="TEXT"
    )
    rows: list[dict[str, Any]] = [
        {"task_id": "a", "task_type": None, "updated_at": "2024-01-01"},
        {"task_id": "a"},
        {"task_id": None},
    ]
    insert(source, "task_queue", *rows)
    report = import_task_queue(path, source)
    assert (report.read, report.added, report.present, report.without_id) == (3, 1, 1, 1)
    assert run(path, "SELECT task_type, created_at, data, max_retries FROM task_queue") == [("", "2024-01-01", None, 3)]


def test_the_source_is_only_read(path: Path, source: Path) -> None:
    insert(source, "task_queue", queued_task(1))
    before = source.read_bytes()
    source.chmod(0o444)
    import_task_queue(path, source)
    assert source.read_bytes() == before


def test_a_ledger_with_duplicates_takes_imports_too(path: Path, source: Path) -> None:
    run(path, "CREATE TABLE task_queue (id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, task_type TEXT NOT NULL)")
    insert(path, "task_queue", *[{"task_id": "queue-1", "task_type": "publish"}] * 2)
    insert(source, "task_queue", queued_task(1), queued_task(2))
    report = import_task_queue(path, source)
    assert (report.added, report.present) == (1, 1)


def test_a_missing_source_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="no file"):
        import_task_queue(path, tmp_path / "nowhere.db")
    assert not path.exists()


def test_a_source_that_is_not_a_database_is_reported(path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes " * 1_000, encoding="utf-8")
    with pytest.raises(DatabaseUnusable, match=r"notes\.txt cannot be imported: file is not a database"):
        import_task_queue(path, tmp_path / "notes.txt")
    assert not path.exists()


def test_a_source_without_a_ledger_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="has no table task_queue"):
        import_task_queue(path, make_original(tmp_path / "history.db", queue=False))


def test_a_source_with_another_programs_ledger_is_said(path: Path, tmp_path: Path) -> None:
    source = make_task_queue(tmp_path / "other.db", without=("task_type",))
    with pytest.raises(DatabaseUnusable, match="has no task_type"):
        import_task_queue(path, source)


def test_a_source_in_another_encoding_is_said(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "wide.db"
    run(source, "PRAGMA encoding = 'UTF-16le'", "CREATE TABLE first (a)")
    make_task_queue(source)
    with pytest.raises(DatabaseUnusable, match="encoding"):
        import_task_queue(path, source)


def test_the_file_itself_is_refused_as_a_source(path: Path) -> None:
    migrate(path)
    with pytest.raises(DatabaseUnusable, match="is the database itself"):
        import_task_queue(path, path)


def test_a_damaged_source_is_named(path: Path, source: Path) -> None:
    insert(source, "task_queue", *(queued_task(n) for n in range(200)))
    content = bytearray(source.read_bytes())
    content[-8_192:] = b"\xa5" * 8_192
    source.write_bytes(content)
    with pytest.raises(DatabaseUnusable):
        import_task_queue(path, source)
