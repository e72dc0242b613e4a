"""Files that killed backups, restores and migrations left: Everpost's own are removed if no process uses them."""

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli_support import environment, until
from everpost.store.sqlite.care.backup import back_up_database
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.new_file import PARTIAL
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema import adopt
from everpost.store.sqlite.schema.migrate import migrate
from sqlite.original_database import finished_task, insert, make_original

ROWS = 200_000


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def age(path: Path) -> None:
    os.utime(path, (1_000, 1_000))


async def test_a_start_removes_abandoned_copies_and_no_other_file(tmp_path: Path) -> None:
    abandoned, at_work, fresh = (tmp_path / f"{name}{PARTIAL}" for name in ("a.db", "b.db", "c.db"))
    others = tmp_path / "d.db.part"
    for path in (abandoned, abandoned.with_name(f"{abandoned.name}-journal"), at_work, others):
        path.write_bytes(b"x")
        age(path)
    fresh.write_bytes(b"x")
    link = tmp_path / f"link{PARTIAL}"
    link.symlink_to(others)
    descriptor = os.open(at_work, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        database = await Database.open(tmp_path / "everpost.db")
        await database.close()
    finally:
        os.close(descriptor)
    assert names(tmp_path) == {at_work.name, fresh.name, others.name, link.name, "everpost.db"}


@pytest.mark.chaos
def test_a_backup_that_was_killed_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path, folder = tmp_path / "everpost.db", tmp_path / "backups"
    folder.mkdir()
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO decisions "
            "(task_id, decision, status_before, decided_at, why) SELECT i, '', '', '', hex(randomblob(200)) FROM n",
            (ROWS,),
        )
        connection.commit()
    killed = folder / "monday.db"
    partial = folder / f"{killed.name}{PARTIAL}"
    argv = [sys.executable, "-m", "everpost.cli", "backup", str(killed), "--database", str(path)]
    with subprocess.Popen(argv, env=environment()) as process:
        until(lambda: partial.exists() and partial.stat().st_size > 1_000_000, "half a backup")
        process.send_signal(signal.SIGKILL)
    assert names(folder) >= {partial.name}
    age(partial)
    back_up_database(path, folder / "tuesday.db")
    assert names(folder) == {"tuesday.db"}


@pytest.mark.parametrize("is_committed", [False, True])
def test_an_adoption_that_was_killed_leaves_one_copy_behind_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    path = make_original(tmp_path / "original.db")
    insert(path, "publish_tasks", finished_task(1))

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        if is_committed:
            killed.setattr(adopt, "keep_backup", die)
        else:
            killed.setattr(adopt, "rename_id", die)
            killed.setattr(Path, "unlink", lambda *_, **__: None)  # nothing tidies up after SIGKILL
        with pytest.raises(Killed):
            migrate(path)
    assert any("before-everpost" in name for name in names(tmp_path))
    migrate(path)
    (copy,) = (name for name in names(tmp_path) if "before-everpost" in name)
    assert copy.startswith("original.db.before-everpost-2")
    with closing(sqlite3.connect(tmp_path / copy)) as connection:
        assert connection.execute("SELECT celery_task_id FROM publish_tasks").fetchall() == [("celery-1",)]
