"""The maintenance of an SQLite file that is closed, or not up to date."""

import asyncio
from pathlib import Path

from everpost.clock import to_text
from everpost.errors import ServiceError
from everpost.findings import Finding
from everpost.store.maintenance import Backup, Compacted, Contents, Depth, ImportReport, Inspection, Progress
from everpost.store.pause import Pause
from everpost.store.sqlite.care.backup import back_up_database
from everpost.store.sqlite.care.compact import compact_database
from everpost.store.sqlite.care.findings import check_findings, file_findings, library_finding, upgrade_findings
from everpost.store.sqlite.care.inspection import CHECKS, find_damage, inspect_contents, inspect_upgrade, wrong_pragmas
from everpost.store.sqlite.care.moving import SqliteMoved
from everpost.store.sqlite.care.restore import restore_database
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.schema.import_queue import import_task_queue
from everpost.store.sqlite.store import SqliteStore


class SqliteMaintenance:
    """See `everpost.store.maintenance.Maintenance`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """See `Maintenance`."""
        return str(self._path)

    def exists(self) -> bool:
        """See `Maintenance`."""
        return self._path.exists()

    def back_up(self, target: Path) -> Backup:
        """See `Maintenance`."""
        return back_up_database(self._path, target)

    def restore(self, backup: Path, now_ms: int) -> Pause:
        """See `Maintenance`."""
        return restore_database(backup, self._path, now_ms)

    def import_queue(self, source: Path, progress: Progress | None = None) -> ImportReport:
        """See `Maintenance`."""
        return import_task_queue(self._path, source, progress)

    def compact(self) -> Compacted:
        """See `Maintenance`."""
        return compact_database(self._path)

    async def open_current(self) -> SqliteStore | None:
        """See `Maintenance`."""
        upgrade = await asyncio.to_thread(inspect_upgrade, self._path)
        if upgrade is None or upgrade.kind != "current":
            return None
        return SqliteStore(await Database.open(self._path, readers=1))

    async def open_moved(self) -> SqliteMoved:
        """See `Maintenance`."""
        return SqliteMoved.open(self._path)

    async def inspect(self, depth: Depth, now_ms: int, least_free_bytes: int) -> Inspection:
        """See `Maintenance`."""
        found = [library_finding(), *file_findings(self._path, least_free_bytes)]
        try:
            upgrade = await asyncio.to_thread(inspect_upgrade, self._path)
            if upgrade is None:
                told = f"{self._path} does not exist yet; the first start makes it"
                return Inspection([*found, Finding("database", "file", told)], None)
            of_upgrade = [*upgrade_findings(self._path, upgrade)]
            if upgrade.kind != "current":
                return Inspection([*found, *of_upgrade], None)
            contents, of_checks = await self._look_inside(depth, now_ms)
        except ServiceError as error:
            damaged = Finding("database", "file", str(self._path), ok=False, advice=error.message)
            return Inspection([*found, damaged], None)
        return Inspection([*found, *of_upgrade, *of_checks], contents)

    async def _look_inside(self, depth: Depth, now_ms: int) -> tuple[Contents, list[Finding]]:
        database = await Database.open(self._path, readers=1)
        try:
            contents = await inspect_contents(database, to_text(now_ms), depth)
            pragmas = await wrong_pragmas(database)
            check = CHECKS.get(depth)
            damage = None if check is None else await find_damage(database, check)
        finally:
            await database.close()
        return contents, [*check_findings(pragmas, check, damage)]
