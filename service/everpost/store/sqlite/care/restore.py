"""Puts a backup in the database's place, prepared so that no task is sent a second time without a decision."""

import os
from contextlib import closing
from pathlib import Path

import msgspec

from everpost.clock import to_text
from everpost.errors import DatabaseUnusable
from everpost.flushing import flush
from everpost.store.pause import KEY, Pause, write_pause
from everpost.store.sqlite.care.backup import SIDE_FILES, check_integrity, copy_database, open_read_only
from everpost.store.sqlite.care.meta import set_value
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.file.connection import prepare_moves
from everpost.store.sqlite.file.new_file import new_file
from everpost.store.sqlite.file.occupancy import alone_with
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.schema.migrate import migrate
from everpost.store.sqlite.schema.schema import APPLICATION_ID
from everpost.store.sqlite.schema.strangers import find_strangers, remove_strangers
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.task.restore_rules import GIVEN_UP, HELD, end_of_send


def restore_database(backup: Path, path: Path, now_ms: int) -> Pause:
    """See `Maintenance.restore`. The file that was there is kept beside the new one."""
    path = path.resolve()  # a link keeps its target
    _check_backup(backup, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    like = path if path.exists() else backup
    with explained(path), alone_with(path), new_file(path, source=backup, like=like) as partial:
        copy_database(backup, partial)
        left_out = _remove_strangers(partial)
        migrate(partial)
        replaced = _free_name(path, now_ms) if path.exists() else None
        pause = _prepare(partial, backup, replaced, now_ms)
        pause = msgspec.structs.replace(pause, left_out=left_out)
        flush(partial)
        _move_aside(path, replaced or _free_name(path, now_ms))
        partial.rename(path)
        flush(path.parent)
        return pause


def _check_backup(backup: Path, path: Path) -> None:
    if not backup.is_file():
        raise DatabaseUnusable(f"There is no backup {backup}.")
    if path.exists() and backup.samefile(path):
        raise DatabaseUnusable(f"{backup} is the database itself, not a backup.")
    with explained(backup):
        with closing(open_read_only(backup)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            strangers = find_strangers(connection, everything=True)
        if application != APPLICATION_ID:
            raise DatabaseUnusable(f"{backup} is not a backup of an Everpost database.")
        strangers.check()
        check_integrity(backup, f"{backup} is damaged; nothing was changed")


def _remove_strangers(partial: Path) -> tuple[str, ...]:
    """Remove what is not ours from the copy, except tables and plain indexes; another program may have added it."""
    with closing(sqlite3.connect(str(partial.absolute()), isolation_level=None)) as connection:
        strangers = find_strangers(connection, everything=True)
        connection.execute("BEGIN IMMEDIATE")
        remove_strangers(connection, strangers)
        connection.execute("COMMIT")
    return tuple(map(str, strangers.removable))


def _prepare(partial: Path, backup: Path, replaced: Path | None, now_ms: int) -> Pause:
    """Hold tasks that may have been sent since, and pause dispatch, before any process can open the file."""
    with closing(sqlite3.connect(str(partial.absolute()), isolation_level=None)) as connection:
        prepare_moves(connection)
        connection.execute("BEGIN IMMEDIATE")
        pause = _pause(connection, backup, replaced, now_ms)
        set_value(connection, KEY, write_pause(pause))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")  # else a part of the data could stay in the log beside it
    return pause


def _pause(connection: sqlite3.Connection, backup: Path, replaced: Path | None, now_ms: int) -> Pause:
    now = to_text(now_ms)
    (newest_at,) = connection.execute(load("find_newest")).fetchone()
    sends = connection.execute(load("find_sends")).fetchall()
    end_tasks(connection, [end_of_send(task_id, attempt, started_at, now_ms) for task_id, attempt, started_at in sends])
    connection.execute(load("hold_unfinished"), {"message": HELD, "now": now})
    (held,) = connection.execute(load("count_held")).fetchone()
    (unfinished,) = connection.execute(load("count_unfinished")).fetchone()
    operations = connection.execute(load("abandon_operations"), {"error": GIVEN_UP, "now": now}).rowcount
    connection.execute(load("pause_recurring"), {"now": now})
    (ended,) = connection.execute(load("count_ended")).fetchone()
    return Pause(
        backup=str(backup.absolute()),
        restored_at=now,
        newest_at=newest_at,
        ended=ended,
        sending=len(sends),
        held=held,
        scheduled=unfinished - held,
        operations=operations,
        replaced=None if replaced is None else str(replaced),
    )


def _free_name(path: Path, now_ms: int) -> Path:
    stamp = to_text(now_ms).replace("-", "").replace(":", "").replace(".", "")
    names = (path.with_name(f"{path.name}.replaced-{stamp}{'-' if n else ''}{n or ''}") for n in range(1_000))
    return next(name for name in names if not name.exists())


def _move_aside(path: Path, replaced: Path) -> None:
    """Give the file a second name. It keeps its own until the new file replaces it.

    SQLite's files beside it are renamed: SQLite would take an old log for the log of the new file.
    """
    if path.exists():
        os.link(path, replaced)
    for suffix in SIDE_FILES:
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(replaced.with_name(replaced.name + suffix))
