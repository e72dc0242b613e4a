"""The ledger, table `task_queue`: accepting a task, every attempt at it, and its end."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

import msgspec

from everpost.clock import SinceBoot, to_text
from everpost.errors import KeyReused
from everpost.store.files import UnknownFileError
from everpost.store.ledger import (
    ClaimedTasks,
    ClaimFacts,
    FirstAnswer,
    IdempotencyKey,
    LostAttempts,
    Once,
    RecordRefusedError,
    TaskExistsError,
    WithData,
)
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_once, find_answer, rows_of_accepted
from everpost.store.sqlite.tasks.checkpoints import save_checkpoint
from everpost.store.sqlite.tasks.claims import adopt_tasks, check_claims, note_lost_attempts
from everpost.store.sqlite.tasks.ends import end_tasks, rows_of_ended
from everpost.task.model import Attempt, Task, TaskRecord

FILES_OF = attrgetter("file_ids")


class SqliteLedger:
    """See `everpost.store.ledger.Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, tasks: Sequence[Task], now_ms: int, once: Once | None = None) -> FirstAnswer | None:
        """See `Ledger.accept`."""
        try:
            if once is None and not any(map(FILES_OF, tasks)):
                await self._database.write_rows("accept_tasks", rows_of_accepted(tasks, now_ms))
                return None
            found = await self._database.write(lambda connection: accept_once(connection, tasks, now_ms, once))
        except sqlite3.IntegrityError as error:
            raise TaskExistsError(str(error)) from error
        return _unless_reused(found)

    async def find_answer(self, key: IdempotencyKey) -> FirstAnswer | None:
        """See `Ledger.find_answer`."""
        return _unless_reused(await self._database.read(lambda connection: find_answer(connection, key)))

    async def adopt(self, tasks: Sequence[Task], now_ms: int) -> ClaimedTasks:
        """See `Ledger.adopt`."""
        return await self._database.write(lambda connection: adopt_tasks(connection, tasks, now_ms))

    async def check_claims(self, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
        """See `Ledger.check_claims`."""
        return await self._database.read(lambda connection: check_claims(connection, offered))

    async def note_lost_attempts(self, task_ids: Collection[str], rule: LostAttempts) -> dict[str, ClaimFacts]:
        """See `Ledger.note_lost_attempts`."""
        ids = sorted(task_ids)
        return await self._database.write(lambda connection: note_lost_attempts(connection, ids, rule))

    async def begin_send(
        self,
        task_id: str,
        attempt: int,
        now_ms: int,
        earlier: int | None = None,
        *,
        since_boot: SinceBoot | None = None,
    ) -> bool:
        """See `Ledger.begin_send`."""
        parameters = {"task_id": task_id, "attempt": attempt, "earlier": earlier, "now": to_text(now_ms)}
        parameters["since_boot"] = None if since_boot is None else msgspec.json.encode(since_boot).decode()
        rows = await self._database.write(
            lambda connection: connection.execute(load("begin_send"), parameters).fetchall()
        )
        return bool(rows)

    async def cancel_send(self, task_id: str, attempt: int, now_ms: int) -> None:
        """See `Ledger.cancel_send`."""
        parameters = {"task_id": task_id, "attempt": attempt, "now": to_text(now_ms)}
        await self._database.write(lambda connection: connection.execute(load("cancel_send"), parameters))

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str, now_ms: int) -> bool:
        """See `Ledger.save_checkpoint`."""
        row = {"task_id": task_id, "attempt": attempt, "checkpoint": checkpoint, "now": to_text(now_ms)}
        return await self._database.write(lambda connection: save_checkpoint(connection, row))

    async def defer(self, task_id: str, attempt: Attempt, due_at_ms: int, *, spent: bool) -> None:
        """See `Ledger.defer`."""
        parameters = {
            "task_id": task_id,
            "attempt": msgspec.json.encode(attempt).decode(),
            "error_message": attempt.error,
            "due_at": to_text(due_at_ms),
            "finished_at": attempt.finished_at,
            "spent": int(spent),
        }
        await self._database.write(lambda connection: connection.execute(load("defer_task"), parameters).fetchall())

    async def end(
        self,
        records: Sequence[TaskRecord],
        overtaken: Sequence[TaskRecord] = (),
        with_data: WithData = lambda record: record,
    ) -> list[str]:
        """See `Ledger.end`."""
        try:
            return await self._end_together(records, overtaken, with_data)
        except sqlite3.Error as error:
            if len(records) + len(overtaken) > 1:
                each = [self._end_together([record], (), with_data) for record in records]
                each += [self._end_together((), [record], with_data) for record in overtaken]
                await asyncio.gather(*each, return_exceptions=True)
            raise RecordRefusedError(str(error)) from error

    async def _end_together(
        self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord], with_data: WithData
    ) -> list[str]:
        names_files = any(map(FILES_OF, records))
        if not overtaken and not names_files and (rows := rows_of_ended(records)) is not None:
            try:
                await self._database.write_rows("end_tasks", rows)
            except sqlite3.IntegrityError:  # a record is unusual; each one is handled by itself below
                pass
            else:
                return []
        return await self._database.write(lambda connection: end_tasks(connection, records, overtaken, with_data))

    async def count_unfinished(self) -> int:
        """See `Ledger.count_unfinished`."""
        row = await self._database.read(lambda connection: connection.execute(load("count_unfinished")).fetchone())
        return int(row[0])

    async def promote_due(self, now_ms: int, limit: int = 1_000) -> int:
        """See `Ledger.promote_due`."""
        parameters = {"now": to_text(now_ms), "limit": limit}
        return await self._database.write(
            lambda connection: connection.execute(load("promote_due"), parameters).rowcount
        )


def _unless_reused(found: FirstAnswer | KeyReused | UnknownFileError | None) -> FirstAnswer | None:
    if isinstance(found, KeyReused | UnknownFileError):
        raise found
    return found
