"""The port's noun `history`: looking tasks up, listing them and counting them, wherever they are.

A store reads times without an offset, as rows of an original file have them, in the time zone it was opened with.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import msgspec

from everpost.task.edit_rules import KeptEdit
from everpost.task.model import Evidence
from everpost.task.place import Place
from everpost.task.resolution_rules import Decided

MAX_LIMIT = 1_000  # tasks of one page
MAX_IDS = 10_000  # ids of one page of ids only
COUNTED = 10_000  # a filter's total is exact up to here
LOOKED_AT = 2_000  # scheduled tasks of each time, to count those that a caller with a scope reaches
RETRIES = 100  # the newest retries that a detail names
SEARCH_S = 5.0  # the time of a search that a client waits for


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks of ledger and history: those that match every field given. Archived tasks never match.

    Callbacks match only if a platform, ids or `retry_of` are given.

    Attributes:
        status: As stored. Only Redis knows which of the tasks in the ledger a worker holds.
        platform: Every stored text that means the platform: `Catalogue.spellings`.
        account_id: As stored.
        created_after_ms: UTC milliseconds, inclusive.
        created_before_ms: UTC milliseconds, exclusive.
        error_class: As stored; no task in the ledger has one, and no success.
        q: Words to look for in title, error and payload. Terms are separated by spaces, and each must occur: a term is
            a phrase of its words. Case, width and accents do not count. A Chinese, Japanese or Korean character is a
            word. The last word also finds longer ones if it has 3 letters or more.
        cause: The id of the cause of its failure: `everpost.task.failure_cause`.
        task_ids: One of these ids.
        place: Ledger or history; None is both.
        reach: What a caller with a scope reaches: platforms, in every spelling, and accounts as PLATFORM, a line break,
            ACCOUNT. None is everything.
    """

    status: str | None = None
    platform: tuple[str, ...] | None = None
    account_id: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    error_class: str | None = None
    cause: str | None = None
    q: str | None = None
    batch_id: str | None = None
    retry_of: str | None = None
    submitted_by: str | None = None
    task_ids: tuple[str, ...] | None = None
    place: Place | None = None
    reach: tuple[str, ...] | None = None


def is_reached(reach: Collection[str], platform: str | None, account_id: str | None) -> bool:
    """Whether an account is among what `TaskFilter.reach` says."""
    return platform in reach or f"{platform}\n{account_id}" in reach


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a list shows it. Times are UTC text.

    Attributes:
        status: As stored. Only Redis knows whether a worker holds a task that waits in the ledger.
        inherited: A row of an original file's queue. It runs only if it is retried.
        attempts: How many were made, as far as is on record.
        evidence: What is known of the attempt whose outcome is unknown, while the task is `unknown`.
    """

    task_id: str
    place: Place
    inherited: bool
    status: str
    platform: str | None
    account_id: str | None
    title: str | None
    priority: int | None
    created_at: str | None
    updated_at: str | None
    due_at: str | None
    started_at: str | None
    completed_at: str | None
    error_class: str | None
    error_message: str | None
    retry_of: str | None
    batch_id: str | None
    attempts: int
    provider_post_id: str | None
    publish_url: str | None
    evidence: Evidence | None
    submitted_by: str | None = None


class Total(msgspec.Struct, frozen=True):
    """How many tasks match; if it is not exact, there are at least so many."""

    total: int
    total_is_exact: bool


class Page(msgspec.Struct, frozen=True):
    """Some tasks.

    Attributes:
        next_cursor: The cursor of the next page; None on the last page.
        total: As `History.total` answers at the same moment; None if the page was not to be counted.
        lag_s: By how many seconds the page may be old, because a replica answered; None if it is not.
    """

    items: list[TaskRow]
    next_cursor: str | None
    total: Total | None = None
    lag_s: float | None = None


class Step(msgspec.Struct, frozen=True):
    """Some tasks of an export, each with the cursor that goes on behind it; none at the end."""

    tasks: list[TaskRow]
    cursors: list[str]


class Summary(msgspec.Struct, frozen=True):
    """How many tasks there are in ledger and history, by status and by the catalogue's name of the platform.

    Callbacks are left out.
    """

    total: int
    by_status: dict[str, int]
    by_platform: dict[str, int]
    by_platform_and_status: dict[str, dict[str, int]]


class RawJob(msgspec.Struct, frozen=True, kw_only=True):
    """A stock arq client's message as it came.

    Attributes:
        text: Its beginning, with everything escaped that is not printable ASCII.
        base64: All of it.
    """

    size_bytes: int
    text: str
    base64: str


class KnownRetry(msgspec.Struct, frozen=True):
    """A task that retries another."""

    task_id: str
    status: str
    place: Place
    created_at: str | None


class IdMatch(msgspec.Struct, frozen=True):
    """A task's id, with what distinguishes it from ids with the same beginning; `status` is the stored one."""

    task_id: str
    place: Place
    status: str
    title: str | None
    created_at: str | None


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A task. Times are UTC text; a field that its place does not keep is None.

    Attributes:
        status: As stored. Only Redis knows whether a worker holds a task that waits in the ledger.
        inherited: A row of an original file's queue. It runs only if it is retried.
        task_data: The client's object, its members as JSON (`msgspec.Raw`); None if it is absent or damaged.
        row: The number of its row, if the store numbers them.
        raw_job: The message of a stock arq client, if no task data could be taken from it.
        task_data_text: The stored text if it is not a JSON object; `note` then says so.
        attempts: As `everpost.task.model.Attempt` writes them.
        attempts_spent: How many of them counted against the platform's `max_attempts`; None once the task has ended.
        sending: The attempt that may be at the platform now; 0 on a task that is held since a restore.
        checkpoint: The last checkpoint of its publisher, as JSON; None if no attempt saved one.
        checkpoint_attempt: The attempt that saved it.
        late_at: The latest time to begin; None is no limit, or the task has ended.
        edits: What people changed while it waited, the oldest first, at most the newest 100.
        decisions: What people decided about it, and the decision that made it, the oldest first.
        retries: The tasks whose `retry_of` is this one, newest first, at most `RETRIES`.
    """

    task_id: str
    place: Place
    status: str
    row: int | None = None
    inherited: bool = False
    platform: str | None = None
    account_id: str | None = None
    title: str | None = None
    priority: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    queued_at: str | None = None
    due_at: str | None = None
    late_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    published_at: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    attempts: Sequence[Any] = ()
    attempts_spent: int | None = None
    sending: int | None = None
    result: Any = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    retry_of: str | None = None
    root_id: str | None = None
    generation: int = 0
    batch_id: str | None = None
    submitted_by: str | None = None
    edits: Sequence[KeptEdit] = ()
    decisions: Sequence[Decided] = ()
    retries: Sequence[KnownRetry] = ()
    archived_at: str | None = None
    archive_reason: str | None = None
    checkpoint: Any = None
    checkpoint_attempt: int | None = None
    task_data: dict[str, Any] | None = None
    raw_job: RawJob | None = None
    task_data_text: str | None = None
    note: str | None = None


class History(Protocol):
    """Finds tasks. An answer is one state of the store, with all that was committed before the question.

    A page may be a little older, if the store was opened so: see `Page.lag_s`. No decision depends on a page.
    """

    async def find_task(self, task_id: str) -> TaskDetail | None:
        """The task with all that is known of it; None if the id is nowhere.

        An original file may have an id several times. Then the ledger counts before the history, the history before the
        archive, and of several rows in one place the newest.
        """

    async def find_rows(self, task_ids: Sequence[str]) -> list[TaskRow]:
        """Those of the tasks, at most `MAX_LIMIT`, that are in ledger or history, in no order; callbacks too.

        Of an id that an original file has several times, one row is found.
        """

    async def find_ids(self, prefix: str, limit: int) -> list[IdMatch]:
        """The ids that begin with `prefix`, in every place, each once, at most `limit`.

        The id that is the prefix itself comes first, then the others in descending order. Case counts.
        """

    async def page(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = 50, *, counted: bool = False
    ) -> Page:
        """The next tasks that match, newest first: by `created_at`, then by id, both descending.

        Tasks without a time come last. Rows without an id are left out. A task keeps its place in this order when it
        moves from the ledger to the history, so a caller that follows the cursors sees each task that matches all the
        time exactly once. A new task is newer than the first page, unless the clock was set back. If the caller is
        cancelled, the search stops.

        Args:
            cursor: `next_cursor` of a page with the same filter; None is the beginning. Clients may keep it for ever.
            limit: 1 to `MAX_LIMIT`.
            counted: Whether the page has the total. This costs less than asking for it separately.

        Raises:
            InvalidValue: `cursor` is not a cursor, `limit` is out of range, or `q` is too long. `path` names which.
            SearchTimeout: It took longer than `SEARCH_S`.
        """

    async def page_ids(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> tuple[list[str], str | None]:
        """The ids of the tasks that `page` answers, and the next cursor; the cursors of both are the same.

        Args:
            limit: 1 to `MAX_IDS`.

        Raises:
            InvalidValue: See `page`.
            SearchTimeout: It took longer than `within_s` seconds.
        """

    async def step(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> Step:
        """The next tasks as `page` has them, with a cursor for each; the cursors of both are the same.

        A replica is never asked: what follows a task in one step follows it in the next.

        Raises:
            InvalidValue: See `page`.
            SearchTimeout: It took longer than `within_s` seconds.
        """

    async def data_of(self, task_ids: Sequence[str], most_bytes: int) -> dict[str, bytes]:
        """The data of tasks, wherever they are, as it is stored: JSON, unless it is damaged.

        They are those of the first ones that have no more than `most_bytes` together, and at least of one. An id is
        missing if it does not fit, or if no place has it or its data.
        """

    async def sizes(self, task_ids: Sequence[str]) -> list[int]:
        """The size of each task's data as stored, in bytes; 0 if the store has no data of it."""

    async def total(self, wanted: TaskFilter, limit: int | None = COUNTED, *, within_s: float = SEARCH_S) -> Total:
        """How many tasks match.

        It is exact if the filter has no other field than status and platform: these numbers are kept, not counted. Else
        tasks are counted up to `limit`; with None to the end.

        Raises:
            InvalidValue: `q` is too long.
            SearchTimeout: It took longer than `within_s` seconds.
        """

    async def page_due(self, from_ms: int, until_ms: int, after: str | None = None, limit: int = 50) -> Page:
        """The scheduled tasks that are due in this time, the earliest first.

        Args:
            after: `next_cursor` of a page of the same time.
            limit: 1 to `MAX_LIMIT`.

        Raises:
            InvalidValue: `after` is not a cursor, or `limit` is out of range.
        """

    async def count_due(self, bounds_ms: Sequence[int], reach: Sequence[str] | None = None) -> list[Total]:
        """How many scheduled tasks are due from each of these times until the next one, each up to `COUNTED`.

        Args:
            reach: Count only what it says, as in `TaskFilter`, among the first `LOOKED_AT` tasks of each time.
        """

    async def summary(self, name_of: Callable[[str], str] = str) -> Summary:
        """How many tasks are in ledger and history. The numbers are kept, so it costs the same for any number of tasks.

        Args:
            name_of: Gives the name of a platform for a text that tasks have stored for it. Texts with the same name are
                counted together.
        """
