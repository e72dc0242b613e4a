"""A file filled for the bench: the rows made by SQL equal those of tasks that were run."""

from contextlib import closing
from pathlib import Path

from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.measured import SqliteMeasured
from everpost.store.sqlite.schema.migrate import migrate


def test_a_history_made_by_sql_is_one_that_everpost_takes_as_its_own(tmp_path: Path) -> None:
    path = tmp_path / "everpost.db"
    SqliteMeasured(path).fill_history(1_000, lambda _: None)
    assert migrate(path).kind == "current"
    with closing(sqlite3.connect(path)) as connection:
        counts = "SELECT status, tasks FROM task_counts ORDER BY tasks"
        assert connection.execute(counts).fetchall() == [("failed", 100), ("success", 900)]
        accounts = "SELECT count(DISTINCT account_id), min(account_id), max(account_id) FROM publish_tasks"
        assert connection.execute(accounts).fetchone() == (1_000, "account0", "account999")
        connection.execute("INSERT INTO publish_tasks (job_id, status, platform) VALUES ('x', 'failed', 'other')")
        assert connection.execute("SELECT sum(tasks) FROM task_counts").fetchone() == (1_001,)


def test_work_left_by_one_measurement_is_not_done_in_the_next(tmp_path: Path) -> None:
    store = SqliteMeasured(tmp_path / "everpost.db")
    store.fill_history(10, lambda _: None)
    ids = store.fill_ledger(5, b'{"platform":"bench"}', 5)
    with store.look() as look:
        assert (look.count_queued(ids), look.count_waiting("bench")) == (5, 5)
        store.leave_nothing_to_do()
        assert (look.count_queued(ids), look.count_waiting("bench")) == (0, 0)
        assert look.count_ended("bench", "success") == 9
