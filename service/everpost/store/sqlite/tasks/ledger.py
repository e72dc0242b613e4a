"""The ledger, table `task_queue`: accepting a task, and every move of one that has not ended."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from everpost.clock import SinceBoot, from_text, to_text
from everpost.errors import KeyReused, ServiceError
from everpost.running_time import ClockMark, count_step, read_mark
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import (
    FirstAnswer,
    IdempotencyKey,
    accept_once,
    accept_parameters,
    find_answer,
)
from everpost.store.sqlite.tasks.completion import complete_tasks, rows_of_ended
from everpost.store.sqlite.tasks.odd_rows import (
    MOST_DATA_BYTES,
    MayBeSent,
    RowStuck,
    SetAside,
    fault_of_data,
    readable_id,
    set_aside_row,
)
from everpost.store.sqlite.tasks.payloads import is_object
from everpost.store.sqlite.tasks.resubmission import (
    Answer,
    Decide,
    Note,
    Prepare,
    Resubmission,
    resubmit_from_history,
    resubmit_tasks,
)
from everpost.task.model import (
    DEFAULT_PRIORITY,
    MOVED_WITHIN_S,
    PRIORITIES,
    Attempt,
    QueueEntry,
    Task,
    TaskRecord,
)
from everpost.task.place import Position
from everpost.task.resolution_rules import UNSAID, Grounds
from everpost.task.retry_rules import RetryDecision

Found = TypeVar("Found")

CLOCK = "clock"  # in everpost_meta: the running time, as the worker that counted last left it
COUNTED = "counted_ms"  # the same time alone: each request with an Idempotency-Key reads it
ODD = "?"  # for `accepted_by`, which must not be None on a row that was accepted
DATED_AHEAD_MS = 60_000  # a row this much younger than now was written before the clock was set back


class ClaimFacts(msgspec.Struct, frozen=True, array_like=True):
    """What the ledger says of a claimed job; the fields are in the order of `claim_facts.sql`.

    Attributes:
        spent: How many attempts counted against the platform's `max_attempts`.
        sending: The attempt whose first byte may have left; None if none did.
        attempts: Those on record, as a JSON list; None if there are none.
        has_size: Whether its data has the size that was expected of it.
    """

    task_id: str
    status: str
    spent: int
    sending: int | None
    chain_id: str
    generation: int
    platform: str | None
    attempts: str | None
    has_size: bool = False


class ClaimedTasks(msgspec.Struct, frozen=True):
    """What SQLite says of claimed jobs.

    Attributes:
        known: The facts of those the ledger has.
        ended: Those of the others that have ended already.
        differing: Those whose data in the ledger is not what was offered.
    """

    known: dict[str, ClaimFacts]
    ended: set[str]
    differing: list[str]


class Ledger:
    """The verbs of a task on its way. Each write is on the disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def waiting(self) -> int:
        """How many writes wait for the one under way."""
        return self._database.waiting

    @property
    def log_bytes(self) -> int:
        """How long the database's write-ahead log is."""
        return self._database.log_bytes

    @property
    def has_long_log(self) -> bool:
        """Whether a reader that does not end keeps the log from starting anew."""
        return self._database.has_long_log

    async def accept_task(self, task: Task, now_ms: int) -> None:
        """Write the task down."""
        await self._database.write_rows("accept_tasks", [accept_parameters(task, now_ms)])

    async def accept_tasks(self, tasks: Sequence[Task], now_ms: int) -> None:
        """Write many tasks down, all or none."""
        await self._database.write_rows("accept_tasks", [accept_parameters(task, now_ms) for task in tasks])

    async def find_answer(self, key: IdempotencyKey) -> FirstAnswer | None:
        """What the request was answered when it came first; None if it has not come.

        Raises:
            KeyReused: The key came with another request.
        """
        return _unless_reused(await self._database.read(lambda connection: find_answer(connection, key)))

    async def accept_once(
        self, tasks: Sequence[Task], now_ms: int, key: IdempotencyKey, answer: FirstAnswer
    ) -> FirstAnswer:
        """Write the tasks and the answer down, unless the key was used already; the answer that counts.

        Raises:
            KeyReused: The key came with another request.
        """
        return _unless_reused(
            await self._database.write(lambda connection: accept_once(connection, tasks, now_ms, key, answer))
        )

    async def adopt_tasks(self, tasks: Sequence[Task], now_ms: int) -> tuple[dict[str, ClaimFacts], set[str]]:
        """Write down tasks that only Redis knew; the facts of each, and which of them must not run.

        These have ended since they were claimed, or have a retry that lives and stands for them (I5).
        """
        rows = [accept_parameters(task, now_ms) for task in tasks]
        return await self._database.write(lambda connection: _adopt(connection, rows))

    async def resubmit_task(
        self, stand_in: Position, task: Task, now_ms: int, decide: Decide, grounds: Grounds = UNSAID
    ) -> tuple[RetryDecision, Task]:
        """Decide on a retry and write its task down, in one transaction; see `resubmission.resubmit_tasks`."""
        wanted = [Resubmission(stand_in, task)]
        answers = await self._database.write(
            lambda connection: resubmit_tasks(connection, wanted, now_ms, decide, grounds), within_s=MOVED_WITHIN_S
        )
        return answers[0]

    async def resubmit_from_history(
        self, task_id: str, prepare: Prepare[Note], now_ms: int, decide: Decide, grounds: Grounds = UNSAID
    ) -> tuple[Answer, Note] | None:
        """As `resubmit_task`, of a task the history has; see `resubmission.resubmit_from_history`.

        Raises:
            ServiceError: `prepare` did.
        """
        answer = await self._database.write(
            lambda connection: resubmit_from_history(connection, task_id, prepare, now_ms, decide, grounds),
            within_s=MOVED_WITHIN_S,
        )
        assert not isinstance(answer, ServiceError), "an error among the answers of a commit is raised"
        return answer

    async def complete_tasks(self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord] = ()) -> list[str]:
        """Move ended tasks into the history; see `completion.complete_tasks`.

        Raises:
            sqlite3.Error: A record cannot be kept, as in a damaged table; all others are.
        """
        try:
            return await self._complete_together(records, overtaken)
        except sqlite3.Error:
            if len(records) + len(overtaken) > 1:
                each = [self._complete_together([record], ()) for record in records]
                each += [self._complete_together((), [record]) for record in overtaken]
                await asyncio.gather(*each, return_exceptions=True)
            raise

    async def _complete_together(self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord]) -> list[str]:
        if not overtaken and (rows := rows_of_ended(records)) is not None:
            try:
                await self._database.write_rows("end_tasks", rows)
            except sqlite3.IntegrityError:  # one of them is not as usual, and it shows below how
                pass
            else:
                return []
        return await self._database.write(lambda connection: complete_tasks(connection, records, overtaken))

    async def defer_task(self, task_id: str, attempt: Attempt, due_at_ms: int, *, spent: bool) -> None:
        """Keep a failed attempt and when the next one is due; `spent` counts it against `max_attempts`."""
        parameters = {
            "task_id": task_id,
            "attempt": msgspec.json.encode(attempt).decode(),
            "error_message": attempt.error,
            "due_at": to_text(due_at_ms),
            "finished_at": attempt.finished_at,
            "spent": int(spent),
        }
        await self._database.write(lambda connection: connection.execute(load("defer_task"), parameters).fetchall())

    async def note_lost_attempts(
        self, task_ids: Collection[str], lost_attempts: Callable[[ClaimFacts], Sequence[Attempt]]
    ) -> dict[str, ClaimFacts]:
        """Keep attempts that never reported, each once; the facts of these tasks then.

        `lost_attempts` has to tell them inside the transaction: one that is not lost after all may write its intent
        until then. Their `started_at` is set here, from what the ledger knows.
        """
        ids = sorted(task_ids)

        def note(connection: sqlite3.Connection) -> dict[str, ClaimFacts]:
            for facts in _claim_facts(connection, ids)[0].values():
                rows = [
                    {
                        "task_id": facts.task_id,
                        "number": attempt.number,
                        "attempt": msgspec.json.encode(attempt).decode(),
                    }
                    for attempt in lost_attempts(facts)
                ]
                connection.executemany(load("note_lost_attempt"), rows)
            return _claim_facts(connection, ids)[0]

        return await self._database.write(note)

    async def begin_send(
        self,
        task_id: str,
        attempt: int,
        now_ms: int,
        earlier: int | None = None,
        *,
        since_boot: SinceBoot | None = None,
    ) -> bool:
        """Record the intent to send; False if an attempt other than `earlier` may have sent already (I6).

        `since_boot` is `now_ms` by a clock that nobody sets, where the age of the attempt's key may be asked for.
        """
        parameters = {"task_id": task_id, "attempt": attempt, "earlier": earlier, "now": to_text(now_ms)}
        parameters["since_boot"] = None if since_boot is None else msgspec.json.encode(since_boot).decode()
        rows = await self._database.write(
            lambda connection: connection.execute(load("begin_send"), parameters).fetchall()
        )
        return bool(rows)

    async def cancel_send(self, task_id: str, attempt: int, now_ms: int) -> None:
        """Take the intent back: the attempt ended before its first byte left."""
        parameters = {"task_id": task_id, "attempt": attempt, "now": to_text(now_ms)}
        await self._database.write(lambda connection: connection.execute(load("cancel_send"), parameters))

    async def count_unfinished(self) -> int:
        """How many tasks that Everpost accepted have not ended; inherited rows are nobody's backlog."""
        row = await self._database.read(lambda connection: connection.execute(load("count_accepted")).fetchone())
        return int(row[0])

    async def claim_facts(self, task_ids: Collection[str]) -> tuple[dict[str, ClaimFacts], set[str]]:
        """What the ledger knows of claimed jobs, and which of the others have ended already."""
        ids = sorted(task_ids)
        return await self._database.read(lambda connection: _claim_facts(connection, ids))

    async def check_claims(self, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
        """As `claim_facts`; `offered` is the data Redis has of each job, compared with the ledger's."""
        return await self._database.read(lambda connection: _check_claims(connection, offered))

    async def find_data(self, task_id: str) -> bytes | None:
        """The data of a task in the ledger; None if there is no row, or none that is a JSON object."""
        row = await self._database.read(
            lambda connection: connection.execute(load("ledger_data"), {"task_id": task_id}).fetchone()
        )
        return row[0] if row is not None and is_object(row[0]) else None

    async def accepted_after(self, after: int, before_ms: int, limit: int) -> list[tuple[int, QueueEntry | None]]:
        """The next ledger rows, with their row numbers, accepted before `before_ms`; inherited rows are never among.

        Those dated more than `DATED_AHEAD_MS` later are, too: no clock shows that time now. None stands for a row whose
        id cannot be read.
        """
        ahead = to_text(before_ms + DATED_AHEAD_MS)
        parameters = {"after": after, "before": to_text(before_ms), "ahead": ahead, "limit": limit}
        return await self._database.read(lambda connection: _accepted_after(connection, parameters))

    async def accepted_among(self, task_ids: Collection[str]) -> tuple[list[Task], dict[int, str]]:
        """Those of the tasks that are in the ledger; inherited rows are never among.

        The second are the row numbers of those that cannot be run, each with the reason.
        """
        parameters = {"task_ids": msgspec.json.encode(list(task_ids)).decode(), "most": MOST_DATA_BYTES}
        rows = await self._database.read(
            lambda connection: connection.execute(load("accepted_among"), parameters).fetchall()
        )
        faults = {row: fault for row, size_bytes, *_ in rows if (fault := fault_of_data(size_bytes)) is not None}
        return [task_of_row(columns) for row, _, *columns in rows if row not in faults], faults

    async def set_aside(self, row: int, fault: str, may_be_sent: MayBeSent, now_ms: int) -> SetAside | None:
        """End the task of a row that cannot be run; see `odd_rows.set_aside_row`.

        Raises:
            RowStuck: The history cannot take it.
        """
        try:
            return await self._database.write(
                lambda connection: set_aside_row(connection, row, fault, may_be_sent, now_ms)
            )
        except sqlite3.Error as error:
            raise RowStuck(str(error)) from error

    async def first_accepted_since(self, since_ms: int) -> int | None:
        """The lowest row number among the rows accepted after `since_ms`; row numbers do not follow times exactly.

        Rows that `accepted_after` counts as dated ahead are not among them.
        """
        parameters = {"since": to_text(since_ms), "ahead": to_text(since_ms + DATED_AHEAD_MS)}
        row = await self._database.read(
            lambda connection: connection.execute(load("first_accepted_since"), parameters).fetchone()
        )
        return None if row is None else row[0]

    async def promote_due(self, now_ms: int, limit: int = 1_000) -> int:
        """Call scheduled tasks whose time has come pending; how many there were."""
        parameters = {"now": to_text(now_ms), "limit": limit}
        return await self._database.write(
            lambda connection: connection.execute(load("promote_due"), parameters).rowcount
        )

    async def expire_idempotency_keys(self, kept_ms: int, limit: int = 1_000) -> int:
        """Forget keys that were kept for so much running time; how many there were."""
        parameters = {"kept_ms": kept_ms, "limit": limit}
        return await self._database.write(
            lambda connection: connection.execute(load("expire_idempotency_keys"), parameters).rowcount
        )

    async def get_meta(self, key: str) -> str | None:
        """What the processes remember together under `key`."""
        row = await self._database.read(
            lambda connection: connection.execute(load("get_meta"), {"key": key}).fetchone()
        )
        return None if row is None else str(row[0])

    async def check_trouble(self, now_ms: int) -> None:
        """If the last write failed, see whether another one does, and raise what that raises."""
        if self._database.trouble is not None:
            await self.check_writable(now_ms)

    async def check_writable(self, now_ms: int) -> None:
        """Write something; raises what `Database.write` raises if that cannot be done."""
        await self.set_meta("checked_at", str(now_ms))

    async def find_clock_mark(self) -> ClockMark | None:
        """What the last worker to count the running time saw; None if none has, or if what is there is no mark."""
        return read_mark(await self.get_meta(CLOCK))

    async def count_time(self, wall_ms: int, since_boot: SinceBoot) -> ClockMark:
        """Count a step of the running time; see `service/everpost/running_time.py`."""

        def count(connection: sqlite3.Connection) -> ClockMark:
            row = connection.execute(load("get_meta"), {"key": CLOCK}).fetchone()
            mark = count_step(read_mark(row and row[0]), wall_ms, since_boot)
            values = {CLOCK: msgspec.json.encode(mark).decode(), COUNTED: str(mark.counted_ms)}
            connection.executemany(load("set_meta"), [{"key": key, "value": values[key]} for key in values])
            return mark

        return await self._database.write(count)

    async def set_meta(self, key: str, value: str) -> None:
        """Remember `value` under `key`."""
        await self._database.write(
            lambda connection: connection.execute(load("set_meta"), {"key": key, "value": value})
        )


def _unless_reused(found: Found | KeyReused) -> Found:
    if isinstance(found, KeyReused):
        raise found
    return found


def _claim_facts(connection: sqlite3.Connection, task_ids: list[str]) -> tuple[dict[str, ClaimFacts], set[str]]:
    claimed = _check_claims(connection, dict.fromkeys(task_ids))
    return claimed.known, claimed.ended


def _check_claims(connection: sqlite3.Connection, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
    sizes = {task_id: -1 if data is None else len(data) for task_id, data in offered.items()}
    rows, data = connection.execute(load("claim_facts"), {"sizes": msgspec.json.encode(sizes).decode()}).fetchone()
    found = msgspec.json.decode(rows, type=list[ClaimFacts])
    known = {facts.task_id: facts for facts in found}
    missing = [task_id for task_id in offered if task_id not in known]
    ended: set[str] = set()
    if missing:
        task_ids = msgspec.json.encode(missing).decode()
        ended = {row[0] for row in connection.execute(load("ended_among"), {"task_ids": task_ids})}
    return ClaimedTasks(known, ended, _differing(found, data or b"", offered))


def _differing(found: Sequence[ClaimFacts], data: bytes, offered: Mapping[str, bytes | None]) -> list[str]:
    """The tasks whose data is not what was offered; `data` has that of those which have its size, in their order."""
    expected = [offered[facts.task_id] or b"" for facts in found if facts.has_size]
    if len(expected) == len(found) and b"".join(expected) == data:  # nearly always
        return []
    differing, start = [], 0
    for facts in found:
        one = offered[facts.task_id]
        if not facts.has_size:
            differing.append(facts.task_id)
            continue
        assert one is not None, "only what was offered has a size"
        if data[start : start + len(one)] != one:
            differing.append(facts.task_id)
        start += len(one)
    return differing


def _adopt(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, ClaimFacts], set[str]]:
    task_ids = [row["task_id"] for row in rows]
    known, ended = _claim_facts(connection, task_ids)
    for row in rows:
        if row["task_id"] not in known and row["task_id"] not in ended:
            try:
                connection.execute(load("accept_task"), row)
            except sqlite3.IntegrityError:  # the index of live retries
                ended.add(row["task_id"])
    return _claim_facts(connection, task_ids)[0], ended


def _accepted_after(
    connection: sqlite3.Connection, parameters: Mapping[str, Any]
) -> list[tuple[int, QueueEntry | None]]:
    return [(row, _entry_of(*columns)) for row, *columns in connection.execute(load("accepted_after"), parameters)]


def _entry_of(task_id: bytes | None, priority: Any, created_at: Any, due_at: Any) -> QueueEntry | None:
    name = readable_id(task_id)
    if name is None:
        return None
    return QueueEntry(
        task_id=name,
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
    )


def _priority_of(value: Any) -> int:
    """A row's priority; the default one for what is none: it must not keep the row from running."""
    return value if isinstance(value, int) and value in PRIORITIES else DEFAULT_PRIORITY


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _time_of(value: Any) -> int | None:
    """A row's time; None for what is none, which only somebody else can have written: the row is due at once."""
    try:
        return from_text(value)
    except (ValueError, TypeError, OverflowError):
        return None


def task_of_row(row: Sequence[Any]) -> Task:
    """The task in a row of `accepted_among.sql`, as it goes to Redis: what is odd in it is left out."""
    data, task_id, priority, due_at, retry_of, root_id, generation, batch_id, *rest = row
    platform, account_id, title, created_at, accepted_by = rest
    return Task(
        task_id=task_id,
        task_data=data,
        platform=_text_of(platform) or "",
        account_id=_text_of(account_id) or "",
        title=_text_of(title) or "",
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
        retry_of=_text_of(retry_of),
        root_id=_text_of(root_id),
        generation=generation if isinstance(generation, int) else 0,
        batch_id=_text_of(batch_id),
        accepted_by=_text_of(accepted_by) or ODD,
    )
