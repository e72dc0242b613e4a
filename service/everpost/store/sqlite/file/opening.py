"""Prepares a database file for its connections: occupies its folder, migrates it, and closes it to other users."""

import os
from pathlib import Path

from everpost.private_files import new_file_mode, tighten
from everpost.store.sqlite.file.new_file import remove_abandoned
from everpost.store.sqlite.file.occupancy import occupy
from everpost.store.sqlite.schema.migrate import MigrationReport, migrate


def files_of(path: Path) -> tuple[Path, ...]:
    """The database file, its log and the log's index."""
    real = path.resolve()
    return (real, real.with_name(f"{real.name}-wal"), real.with_name(f"{real.name}-shm"))


def bring_up(path: Path) -> tuple[int, MigrationReport]:
    """Occupy the file's folder (see `occupy`), and bring the file up to this version; blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    occupancy = occupy(path)
    try:
        return occupancy, _migrate(path)
    except BaseException:
        os.close(occupancy)
        raise


def _migrate(path: Path) -> MigrationReport:
    remove_abandoned(path.resolve().parent)
    is_new = not path.exists()
    for file in () if is_new else files_of(path):
        tighten(file)
    report = migrate(path)
    if is_new:  # SQLite creates it with the umask's mode, and the files beside it with its own mode
        path.chmod(new_file_mode(path.parent))
    return report
