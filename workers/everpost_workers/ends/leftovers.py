"""Leftovers: outcomes that the database did not take before their worker ended. They wait in files beside it (I3)."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import structlog

from everpost.database_address import outcomes_folder
from everpost.errors import ServiceError
from everpost.flushing import flush
from everpost.queue.event_teller import EventTeller, Told
from everpost.task.model import TaskRecord
from everpost_workers.attempts.attempt import EndedTask
from everpost_workers.ends.recorder import EndRecorder

log = structlog.get_logger("everpost.worker")

UNREADABLE = ".unreadable"
TRIES = 100


class Outcomes(msgspec.Struct, frozen=True):
    """The leftovers of one worker, as the arguments of `Ledger.end`."""

    records: list[TaskRecord]
    overtaken: list[TaskRecord]


class Leftovers:
    """Keeps outcomes until they can be recorded.

    Args:
        files: The files beside the database.
    """

    def __init__(self, recorder: EndRecorder, files: "LeftoverFiles", events: EventTeller) -> None:
        self._recorder = recorder
        self._events = events
        self._files = files
        self._told: set[Path] = set()

    async def keep(self, outcomes: Sequence[EndedTask]) -> None:
        """Keep outcomes that the database has not taken, because the worker ends.

        Raises:
            OSError: The file cannot be written either. Tasks that may have been sent end as unknown.
        """
        records, overtaken = self._recorder.whole_records_of(outcomes)
        task_ids = [record.task_id for record in records]
        try:
            path = await asyncio.to_thread(self._files.save, records, overtaken)
        except OSError as error:
            log.error("outcomes.lost", error=str(error), task_ids=task_ids)  # noqa: TRY400 - a fault of the disk
            raise
        log.warning("outcomes.left_over", file=str(path), task_ids=task_ids)

    async def take_in(self) -> None:
        """Record the leftovers of all workers. A file that cannot be taken in stays, and the others are taken in.

        Raises:
            ServiceError: The database does not accept them yet.
        """
        for path in self._files.paths():
            try:
                await self._take_in(path)
            except msgspec.DecodeError as error:
                log.error("outcomes.unreadable", file=str(path), error=str(error))  # noqa: TRY400 - another program's file
            except ServiceError:
                raise
            except Exception:
                if path not in self._told:
                    log.exception("outcomes.not_taken_in", file=str(path))
                self._told.add(path)

    async def _take_in(self, path: Path) -> None:
        left = self._files.read(path)
        if left is not None:
            task_ids = [record.task_id for record in left.records]
            async with self._events.telling(Told.ENDED, task_ids) as ended:
                late = await self._recorder.take_in(left.records, left.overtaken)
                ended.extend(task_ids)
            self._files.forget(path)
            log.info("outcomes.taken_in", tasks=len(left.records), late=late)


class LeftoverFiles:
    """The files beside one database; every method blocks."""

    def __init__(self, database: Path) -> None:
        self.folder = outcomes_folder(database)

    def save(self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord]) -> Path:
        """Write outcomes into a new file, which is on the disk when this returns.

        Raises:
            OSError: The disk does not accept a file either.
        """
        path = self.folder / f"{uuid4().hex}.json"
        partial = path.with_suffix(".partial")
        descriptor = self._create(partial)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(Outcomes(list(records), list(overtaken))))
            file.flush()
            os.fsync(descriptor)
        partial.rename(path)
        with suppress(FileNotFoundError):  # another worker has already read it
            flush(self.folder)
        flush(self.folder.parent)
        return path

    def _create(self, path: Path) -> int:
        """Make a file, and the folder, which another worker may remove at any moment together with its last file."""
        for _ in range(TRIES):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        raise FileNotFoundError(f"{self.folder} is removed again and again")

    def paths(self) -> list[Path]:
        """The files with leftovers."""
        try:
            return sorted(path for path in self.folder.glob("*.json") if path.is_file())
        except OSError:
            return []

    def read(self, path: Path) -> Outcomes | None:
        """The content of a file; None if another worker has read and removed it meanwhile.

        Raises:
            msgspec.DecodeError: It is not one of Everpost's; from now on its name says so.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=Outcomes)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            path.rename(path.with_suffix(UNREADABLE))
            raise msgspec.DecodeError(str(error)) from error

    def forget(self, path: Path) -> None:
        """Remove a file whose outcomes are in the database, and the empty folder; other workers may do so too."""
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it has other files, or another worker removed it
            self.folder.rmdir()
