"""The port's ledger: tasks that were accepted and have not ended, the attempts at them, and how they end."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from everpost.clock import SinceBoot
from everpost.task.model import Attempt, Task, TaskRecord


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A client's Idempotency-Key, and the digest of the request it came with.

    Attributes:
        kept_ms: For how much running time a key is remembered.
        until_s: The request is answered by about this time (monotonic): its steps wait for the database no longer.
        nameless: The key that the same request had before its caller had a name. `Ledger.find_answer` finds its answer
            too, if the fingerprint is the same. None if the caller has no name.
    """

    key: str
    fingerprint: str
    kept_ms: int
    until_s: float = math.inf
    nameless: str | None = None


class FirstAnswer(msgspec.Struct, frozen=True):
    """The answer to the first request with a key: the id of its task or batch, and the JSON body."""

    accepted_id: str
    body: str


class Once(msgspec.Struct, frozen=True):
    """Accept tasks only if their key is new, and keep the answer with it."""

    key: IdempotencyKey
    answer: FirstAnswer


class ClaimFacts(msgspec.Struct, frozen=True, array_like=True):
    """The ledger's facts about one of its tasks.

    Attributes:
        spent: How many attempts counted against the platform's `max_attempts`.
        sending: The attempt whose first byte may have been sent; None if nothing was sent, `HELD` (0) since a restore.
        chain_id: The first task of its retry chain; its own id if it is not a retry.
        attempts: Those on record, as a JSON list; None if no attempt was recorded.
        has_size: Whether its data has as many bytes as the data that was offered for it; see `Ledger.check_claims`.
        checkpoint: The last one that an attempt saved, as JSON; None if no attempt saved one.
        late_at: The latest time to begin; None is no limit.
        due_at: Only while it is scheduled: when it is due.
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
    checkpoint: str | None = None
    late_at: str | None = None
    due_at: str | None = None


class ClaimedTasks(msgspec.Struct, frozen=True):
    """The store's facts about claimed jobs. An id that is in neither `known` nor `ended` is unknown to the store.

    Attributes:
        known: The facts of the tasks that are in the ledger.
        ended: The ids of tasks that must not run: they are in the history or the archive.
        differing: The ids of tasks whose data in the ledger is not the data that was offered.
        accounts_version: That of the accounts, if any task is known; see `everpost.store.accounts.VERSION`.
    """

    known: dict[str, ClaimFacts]
    ended: set[str]
    differing: list[str]
    accounts_version: str | None = None


LostAttempts = Callable[[ClaimFacts], Sequence[Attempt]]
"""The rule of `note_lost_attempts`: the attempts at a task that never reported. Pure; it may be called twice."""

WithData = Callable[[TaskRecord], TaskRecord]
"""The rule of `end`: a record together with its task's data. Pure; it may be called twice."""


class TaskExistsError(Exception):
    """The ledger has a task already with the id of a new one, or another task of its retry chain (I5)."""


class RecordRefusedError(Exception):
    """The store cannot keep a record: a row of the task, which another program may have written, does not allow it."""


class Ledger(Protocol):
    """Tasks that have not ended.

    Every write is durable when its method returns: neither a crash nor a power cut undoes it. Every method that writes
    raises, if nothing was written:

    - `DatabaseBusy`: another process kept the store locked for too long;
    - `DatabaseUnwritable`: the disk is full, read-only or fails;
    - `DatabaseUnusable`: the store is damaged, or no longer the one that was opened;

    and `WriteUnconfirmed` if the store cannot say whether it was written. All four are `Unavailable`. Concurrent writes
    may be committed together; each caller gets its own answer or error.
    """

    async def accept(self, tasks: Sequence[Task], now_ms: int, once: Once | None = None) -> FirstAnswer | None:
        """Write tasks into the ledger, all or none.

        Of several calls with one key at once, exactly one writes its tasks; the others get its answer.

        Args:
            once: Write only if its key was not used within its `kept_ms`, and keep its answer with the key.

        Returns:
            The answer that was kept earlier for the same request: then nothing was written. None if the tasks are in
            the ledger now.

        Raises:
            KeyReused: The key was used for another request; nothing was written.
            TaskExistsError: One of the tasks cannot be written; none was, and the key is free.
            UnknownFileError: One of the tasks names a file of Everpost's that has no record; none was written.
        """

    async def find_answer(self, key: IdempotencyKey) -> FirstAnswer | None:
        """The answer that was kept for the request; None if its key is new or was forgotten.

        Raises:
            KeyReused: The key was used for another request.
        """

    async def adopt(self, tasks: Sequence[Task], now_ms: int) -> ClaimedTasks:
        """Write tasks that only Redis knew into the ledger, each unless the store has it already.

        Returns:
            `known` has the facts of all of them that are in the ledger now. `ended` has those that must not run: they
            have ended since they were claimed, or a retry of theirs lives and stands for them (I5).
        """

    async def check_claims(self, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
        """The store's facts about claimed jobs; it reads everything that was committed before the call.

        Args:
            offered: For each id the data that Redis has, which is compared with the ledger's byte by byte. None
                compares nothing, and the task counts as differing.
        """

    async def note_lost_attempts(self, task_ids: Collection[str], rule: LostAttempts) -> dict[str, ClaimFacts]:
        """Keep attempts that never reported, each once, even if several workers note them repeatedly.

        Args:
            rule: Called for each task under the store's lock: an attempt that is not lost after all may write its
                intent until then. The `started_at` of its attempts is set from what the ledger knows.

        Returns:
            The facts of those of the tasks that are in the ledger, as they are afterwards.
        """

    async def begin_send(
        self,
        task_id: str,
        attempt: int,
        now_ms: int,
        earlier: int | None = None,
        *,
        since_boot: SinceBoot | None = None,
    ) -> bool:
        """Record the intent to send, before an attempt's first byte is sent (I6).

        Of several attempts at once, the intent of exactly one is recorded. After `WriteUnconfirmed`, a call with the
        same attempt and time finds its own intent.

        Args:
            earlier: An attempt whose intent may be replaced, because its outcome is known by now.
            since_boot: The same time since the host's boot, if the age of the attempt's key may be needed.

        Returns:
            False if an attempt other than `earlier` may have sent already, or the task is not in the ledger.
        """

    async def cancel_send(self, task_id: str, attempt: int, now_ms: int) -> None:
        """Remove the attempt's intent: it ended before its first byte was sent. Another attempt's intent stays."""

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str, now_ms: int) -> bool:
        """Replace the task's checkpoint, which goes with the task from here to the history and the archive.

        Of checkpoints that are saved at once, the one of the highest attempt stays.

        Args:
            checkpoint: JSON without the character NUL.

        Returns:
            False if the attempt may not save any more: the task is not in the ledger, or the attempt or a later one is
            on record. Then nothing was written.
        """

    async def defer(self, task_id: str, attempt: Attempt, due_at_ms: int, *, spent: bool) -> None:
        """Keep a failed attempt, and when the next one is due; a task that is not in the ledger stays as it is.

        Args:
            spent: Count the attempt against the platform's `max_attempts`.
        """

    async def end(
        self,
        records: Sequence[TaskRecord],
        overtaken: Sequence[TaskRecord] = (),
        with_data: WithData = lambda record: record,
    ) -> list[str]:
        """Move ended tasks from the ledger into the history, in one transaction (I1); a second call changes nothing.

        A record of a task that has ended already is kept as one more attempt of it. A record of a task that no place
        has gets an entry of its own in the history. The files of a success are marked as published.

        Args:
            overtaken: Records of tasks that another worker ends or has ended; only their attempts are kept.
            with_data: Called only for a record of a task that no place has, so that all others need not carry data.

        Returns:
            The ids of the `records` whose tasks had ended before.

        Raises:
            RecordRefusedError: The store cannot keep a record, because its row is damaged. It kept all others.
        """

    async def count_unfinished(self) -> int:
        """How many accepted tasks have not ended; the inherited ones of an original file are not counted."""

    async def promote_due(self, now_ms: int, limit: int = 1_000) -> int:
        """Give scheduled tasks whose time has come the status pending, at most `limit`; how many there were."""
