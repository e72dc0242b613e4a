"""The port's noun `batches`: tasks that were accepted together and are looked at together, such as a fan-out."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import msgspec

from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.duplicate_rules import Guard
from everpost.task.fanout_rules import FanoutItem
from everpost.task.model import Task
from everpost.task.place import Place


class BatchKind(StrEnum):
    """What a kept batch is."""

    FANOUT = "fanout"  # one content for many accounts
    BATCH = "batch"  # any tasks; kept only for its callback


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as a store keeps it.

    Attributes:
        items: The accounts of a fan-out; empty for other batches, of which a store keeps an item for each task.
        callback_url: The address that is told when all tasks have ended; each of them has a `callback_url` at first.
        total: The number of its items, rejected ones too.
        unfinished: Its tasks that have not ended; counted only if it has a `callback_url`.
    """

    batch_id: str
    kind: BatchKind
    items: Sequence[FanoutItem] = ()
    created_at: str
    callback_url: str | None = None
    total: int = 0
    rejected: int = 0
    unfinished: int = 0


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The newest task of a retry chain.

    Attributes:
        status: As stored. Only Redis knows whether a worker holds a task that waits in the ledger.
    """

    chain_id: str
    task_id: str
    generation: int
    place: Place
    status: str
    error_class: str | None = None
    error_message: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None


class BatchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks with the same `batch_id`.

    Attributes:
        kind: What gave them the id: `fanout`, `batch`, `recurring` (its occurrences), or `retry` (of a bulk request).
        title: That of one of its tasks.
        counts: Tasks by status, as stored; up to `COUNTED` of each place.
        is_exact: Whether these are all of its tasks.
    """

    batch_id: str
    kind: str
    title: str | None
    platform: str | None
    created_at: str | None
    counts: dict[str, int]
    is_exact: bool


COUNTED = 500
NEWEST = "\U0010ffff"  # before all ids


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What is written with the tasks of a request.

    Attributes:
        answer: Kept with the request's Idempotency-Key.
        batch: None if the tasks are not kept as a batch.
    """

    answer: FirstAnswer
    batch: Batch | None = None


PostingRule = Callable[[Mapping[str, str]], Posted]
"""What is written, given the tasks that are refused: for each, the earlier task that prevents it. Pure."""


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks to be accepted together, and what is written with them in one transaction.

    Attributes:
        guards: Those of the tasks that must not be duplicates, by their ids, in the order of `tasks`.
        key: Write only if this key was not used within its `kept_ms`, and keep the answer with it.
    """

    tasks: Sequence[Task]
    rule: PostingRule
    guards: Mapping[str, Guard] = MappingProxyType({})
    key: IdempotencyKey | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a posting.

    Attributes:
        tasks: Those that are in the ledger now.
        answer: The answer to the client: this request's, or that of the first request with its key.
        is_repeated: The key had an answer; nothing was written.
        duplicates: For each task that was refused, the earlier task that forbids it. If all were, nothing was written,
            and the key is free.
    """

    tasks: Sequence[Task]
    answer: FirstAnswer
    is_repeated: bool = False
    duplicates: Mapping[str, str] = MappingProxyType({})


class Batches(Protocol):
    """Accepts and finds batches."""

    async def accept(self, posting: Posting, now_ms: int) -> Accepted:
        """Write tasks, their batch, and the answer with its key: all or nothing.

        A task whose guard finds a recent post is refused. Of several equal tasks at once, exactly one is written.

        Of several calls with one key at once, exactly one writes; the others get its answer, and no tasks.

        Raises:
            KeyReused: The key was used for another request; nothing was written.
            TaskExistsError: One of the tasks cannot be written; none was, and the key is free.
            UnknownFileError: A task names a file of Everpost's without a record; nothing was written.
            Unavailable: As the writes of `Ledger`.
        """

    async def find(self, batch_id: str) -> tuple[Batch, list[ChainEnd]] | None:
        """A fan-out, and the newest task of each of its retry chains; None if there is no such fan-out.

        A retry counts, however it was made. A chain is left out if its tasks were purged.
        """

    async def page(
        self, before: str | None = None, limit: int = 25, reach: Sequence[str] | None = None
    ) -> list[BatchSummary]:
        """The batches of ledger and history whose ids come before `before`, in descending order, at most `limit`.

        Ids that Everpost makes begin with their time, so the newest come first.

        Args:
            reach: Count only the tasks that it says, as in `TaskFilter`. A batch without such tasks has no counts.
        """

    async def find_duplicates(self, guards: Mapping[str, Guard]) -> Mapping[str, str]:
        """For each task that `accept` would refuse now, the earlier task that forbids it."""
