"""The ledger, table `task_queue`: accepting a task, every attempt at it, and its end."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from everpost.batcher import Batcher
from everpost.clock import SinceBoot, to_text
from everpost.errors import DatabaseBusy, Unavailable, WriteUnconfirmed
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
from everpost.store.postgresql.link.connection import TypedRow
from everpost.store.postgresql.link.database import READ_S, Database
from everpost.store.postgresql.link.faults import StatementRefused
from everpost.store.postgresql.link.transactions import left
from everpost.store.postgresql.tasks.acceptance import accept_with_files, find_answer
from everpost.store.postgresql.tasks.checkpoints import Checkpoint, save_checkpoints
from everpost.store.postgresql.tasks.claims import adopt_tasks, check_claims, note_lost_attempts
from everpost.store.postgresql.tasks.deferring import Deferred, defer_tasks
from everpost.store.postgresql.tasks.ends import end_tasks, ending_of, split_by_task
from everpost.store.postgresql.tasks.failures import KnownCauses
from everpost.store.postgresql.tasks.typed_rows import accepted_values, request_values
from everpost.task.model import Attempt, Task, TaskRecord

KEY_TRIES = 5  # a key can be in use when it is written, and be forgotten before its answer is read

Check = Callable[[], Awaitable[None]]


class PostgresqlLedger:
    """See `everpost.store.ledger.Ledger`.

    Args:
        check_claim: Raises `Unavailable` while this process may not claim tasks.
        check_send: Raises it while this process may not send any.
    """

    def __init__(self, database: Database, check_claim: Check, check_send: Check) -> None:
        self._database = database
        self._check_claim, self._check_send = check_claim, check_send
        self._unconfirmed: set[tuple[str, int, int]] = set()  # intents that may be written, and are written again
        self._deferred: Batcher[Deferred, None] = Batcher(self._defer)
        self._checkpoints: Batcher[Checkpoint, bool] = Batcher(self._save)
        self._causes = KnownCauses(database)

    async def accept(self, tasks: Sequence[Task], now_ms: int, once: Once | None = None) -> FirstAnswer | None:
        """See `Ledger.accept`."""
        try:
            if any(task.file_ids for task in tasks):
                return await self._accept_with_files(tasks, now_ms, once)
            if once is not None:
                return await self._accept_once(request_values(tasks, now_ms, once), once)
            await self._database.write_rows("accept_tasks", accepted_values(tasks, now_ms), again="accept_tasks_again")
        except StatementRefused as error:
            raise TaskExistsError(str(error)) from error
        return None

    async def _accept_with_files(self, tasks: Sequence[Task], now_ms: int, once: Once | None) -> FirstAnswer | None:
        until_s = math.inf if once is None else once.key.until_s
        for _ in range(KEY_TRIES):
            work = partial(accept_with_files, tasks=tasks, now_ms=now_ms, once=once)
            if await self._database.write(work, until_s=until_s):
                return None
            assert once is not None, "only a key can be in use"
            if (answer := await self.find_answer(once.key)) is not None:
                return None if answer == once.answer else answer
        raise DatabaseBusy

    async def _accept_once(self, row: TypedRow, once: Once) -> FirstAnswer | None:
        for _ in range(KEY_TRIES):
            if await self._database.write_rows("accept_once", [row], until_s=once.key.until_s):
                return None
            answer = await self.find_answer(once.key)
            if answer is not None:  # its own, if it was sent again after its answer was lost
                return None if answer == once.answer else answer
        raise DatabaseBusy

    async def find_answer(self, key: IdempotencyKey) -> FirstAnswer | None:
        """See `Ledger.find_answer`. A synchronous standby has the task before its answer is given again."""
        within_s = min(READ_S, left(key.until_s))
        found = await self._database.read(lambda connection: find_answer(connection, key), within_s=within_s)
        if found is not None:
            await self._database.write(lambda connection: connection.fetch_all("confirm_commits"), until_s=key.until_s)
        return found

    async def adopt(self, tasks: Sequence[Task], now_ms: int) -> ClaimedTasks:
        """See `Ledger.adopt`."""
        return await self._database.write(lambda connection: adopt_tasks(connection, tasks, now_ms))

    async def check_claims(self, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
        """See `Ledger.check_claims`."""
        await self._check_claim()
        return await self._database.read(lambda connection: check_claims(connection, offered))

    async def note_lost_attempts(self, task_ids: Collection[str], rule: LostAttempts) -> dict[str, ClaimFacts]:
        """See `Ledger.note_lost_attempts`."""
        return await self._database.write(lambda connection: note_lost_attempts(connection, task_ids, rule))

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
        await self._check_send()
        booted = None if since_boot is None else msgspec.json.encode(since_boot).decode()
        row = (task_id, attempt, earlier, to_text(now_ms), booted)
        intent = (task_id, attempt, now_ms)
        statement = "begin_send_again" if intent in self._unconfirmed else "begin_send"
        try:
            begun = await self._database.write_rows(statement, [row], again="begin_send_again")
        except WriteUnconfirmed:
            self._unconfirmed.add(intent)
            raise
        self._unconfirmed.discard(intent)
        if begun and not begun[0]["is_known"]:
            raise Unavailable("Another PostgreSQL answers, and it is not known yet whether it lacks commits.")
        return bool(begun)

    async def cancel_send(self, task_id: str, attempt: int, now_ms: int) -> None:
        """See `Ledger.cancel_send`."""
        await self._database.write_rows("cancel_send", [(task_id, attempt, None, to_text(now_ms), None)])

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str, now_ms: int) -> bool:
        """See `Ledger.save_checkpoint`."""
        await self._check_send()
        return await self._checkpoints.submit(Checkpoint(task_id, attempt, checkpoint, to_text(now_ms)))

    async def _save(self, asked: Sequence[Checkpoint]) -> Sequence[bool]:
        return await self._database.write(lambda connection: save_checkpoints(connection, asked))

    async def defer(self, task_id: str, attempt: Attempt, due_at_ms: int, *, spent: bool) -> None:
        """See `Ledger.defer`."""
        await self._deferred.submit(Deferred(task_id, attempt, to_text(due_at_ms), spent))

    async def _defer(self, deferred: Sequence[Deferred]) -> Sequence[None]:
        await self._database.write(lambda connection: defer_tasks(connection, deferred))
        return [None] * len(deferred)

    async def end(
        self,
        records: Sequence[TaskRecord],
        overtaken: Sequence[TaskRecord] = (),
        with_data: WithData = lambda record: record,
    ) -> list[str]:
        """See `Ledger.end`."""
        try:
            return await self._end_together(records, overtaken, with_data)
        except StatementRefused as error:
            if len(records) + len(overtaken) > 1:
                each = [self._end_together([record], (), with_data) for record in records]
                each += [self._end_together((), [record], with_data) for record in overtaken]
                await asyncio.gather(*each, return_exceptions=True)
            raise RecordRefusedError(str(error)) from error

    async def _end_together(
        self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord], with_data: WithData
    ) -> list[str]:
        """Usually every record has a ledger row and its columns: then one statement ends many callers' tasks."""
        await self._causes.keep(records)
        is_usual = all(record.columns is not None and not record.file_ids for record in records)
        if not overtaken and is_usual:
            first, others = split_by_task(records)
            with suppress(StatementRefused):  # one of them is not as usual, and it shows below how
                statement, rows = ending_of(first)
                moved = {
                    row["task_id"]
                    for row in await self._database.write_rows(statement, rows, again=f"{statement}_again")
                }
                records = [*(record for record in first if record.task_id not in moved), *others]
                if not records:
                    return []
        return await self._database.write(lambda connection: end_tasks(connection, records, overtaken, with_data))

    async def count_unfinished(self) -> int:
        """See `Ledger.count_unfinished`."""
        count: int = await self._database.read(lambda connection: connection.fetch_value("count_unfinished"))
        return count

    async def promote_due(self, now_ms: int, limit: int = 1_000) -> int:
        """See `Ledger.promote_due`."""
        return await self._database.write(
            lambda connection: connection.run("promote_due", now=to_text(now_ms), limit=limit)
        )
