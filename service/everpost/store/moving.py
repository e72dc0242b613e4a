"""The port of `everpost move`: the two stores of a move, and the rows that go from one to the other.

Both stores keep a `Mark`, as the value `MOVE` of `everpost.store.meta.Meta`. The source is closed from the beginning
on, and the target is closed until it has every row. So at each moment at most one of them can be opened, whenever the
move is interrupted.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol, TypeAlias

import msgspec

from everpost.errors import DatabaseUnusable

Value: TypeAlias = str | bytes | int | float | None
"""A text that is not UTF-8 has its undecodable bytes as lone surrogates (PEP 383)."""


class Table(StrEnum):
    """The tables in the order in which they are moved, by their names in `schema.sql`."""

    ARCHIVE = "publish_tasks_archive"
    HISTORY = "publish_tasks"
    LEDGER = "task_queue"
    DECISIONS = "decisions"
    EDITS = "task_edits"
    TRACES = "task_traces"
    RECURRING = "recurring_posts"
    KEYS = "idempotency_keys"
    BATCHES = "batches"
    RECENT = "recent_posts"
    OPERATIONS = "operations"
    SKIPS = "operation_skips"
    DONE = "operation_tasks"
    LIMITS = "limits"
    USES = "limit_uses"
    CLOSURES = "limit_closures"
    FILES = "file_records"
    FILE_ROOTS = "file_roots"
    UPLOADS = "file_uploads"
    FILE_USES = "file_uses"
    ACCOUNTS = "publish_accounts"
    API_KEYS = "api_keys"
    SESSIONS = "sessions"
    AUDIT = "audit_log"
    META = "everpost_meta"


_ENDED = (
    "job_id", "plan_id", "package_id", "platform", "account_id", "material_id", "title", "tags", "cover",
    "schedule_time", "publish_mode", "status", "external_user_id", "external_account_id", "result_metrics",
    "error_message", "created_at", "updated_at", "published_at", "completed_at", "task_data", "priority", "retry_of",
    "root_id", "generation", "batch_id", "attempts", "error_class", "result", "provider_post_id", "publish_url",
    "queued_at", "started_at", "raw_job", "checkpoint", "checkpoint_attempt", "callback_url", "submitted_by",
)  # fmt: skip

COLUMNS: Mapping[Table, tuple[str, ...]] = MappingProxyType(
    {
        Table.ARCHIVE: (*_ENDED, "archived_at", "archive_reason"),
        Table.HISTORY: _ENDED,
        Table.LEDGER: (
            "task_id", "task_type", "priority", "status", "data", "result", "error_message", "retry_count",
            "max_retries", "created_at", "started_at", "completed_at", "updated_at", "platform", "account_id", "title",
            "due_at", "retry_of", "root_id", "generation", "batch_id", "attempts", "sending", "sending_since",
            "accepted_by", "checkpoint", "checkpoint_attempt", "callback_url", "late_at", "submitted_by",
        ),
        Table.DECISIONS: (
            "task_id", "decision", "status_before", "decided_at", "decided_by", "why", "provider_post_id",
            "publish_url", "new_task_id",
        ),
        Table.EDITS: ("task_id", "edited_at", "edited_by", "why", "patch", "before"),
        Table.TRACES: ("task_id", "context", "origin"),
        Table.RECURRING: (
            "recurrence_id", "name", "version", "status", "reason", "cron", "timezone", "until_at", "task_data",
            "platform", "account_id", "next_at", "last_at", "last_task_id", "made", "missed", "created_at",
            "updated_at",
        ),
        Table.KEYS: ("key", "fingerprint", "task_id", "created_at", "answer", "counted_ms"),
        Table.RECENT: ("digest", "task_id", "at_ms", "until_ms"),
        Table.BATCHES: (
            "batch_id", "kind", "items", "created_at", "updated_at", "callback_url", "total", "rejected", "unfinished",
            "rounds",
        ),
        Table.OPERATIONS: (
            "operation_id", "kind", "request", "status", "total", "done", "succeeded", "position", "error", "owner",
            "created_at", "updated_at", "undoes",
        ),
        Table.SKIPS: ("operation_id", "task_id", "reason"),
        Table.DONE: ("operation_id", "task_id"),
        Table.LIMITS: ("scope", "value", "updated_at"),
        Table.USES: ("used_at", "task_id", "lane"),
        Table.CLOSURES: ("scope", "closed_until"),
        Table.FILES: (
            "filename", "filesize", "file_path", "upload_time", "status", "published_at", "last_platform",
            "last_accounts", "title", "description", "tags", "cover_image", "duration", "file_id", "root", "size_bytes",
            "sha256", "content_type", "width", "height", "changed_ns", "created_at", "used_at", "submitted_by",
        ),
        Table.FILE_ROOTS: ("name", "folder"),
        Table.UPLOADS: ("file_id", "filename", "size_bytes", "metadata", "created_at", "expires_at", "submitted_by"),
        Table.FILE_USES: ("file_id", "task_id"),
        Table.ACCOUNTS: (
            "platform", "account_id", "title", "options", "credentials", "timezone", "status", "reason", "since",
            "tokens", "tokens_at", "revision", "locked_by", "locked_until_ms", "test", "created_at", "updated_at",
        ),
        Table.API_KEYS: (
            "key_id", "name", "role", "prefix", "digest", "scope", "rate", "created_at", "created_by", "expires_at",
            "revoked_at", "revoked_by", "last_used_at",
        ),
        Table.SESSIONS: ("digest", "key_id", "name", "role", "created_at", "expires_at", "seen_at"),
        Table.AUDIT: (
            "audit_id", "at", "who", "role", "key_id", "action", "how", "address", "target", "why", "details",
            "outcome",
        ),
        Table.META: ("key", "value"),
    }
)  # fmt: skip
"""The columns that move. The numbers of rows do not: each store makes them anew, in the same order."""

NUMBERS = frozenset(
    {
        "package_id", "priority", "generation", "retry_count", "max_retries", "sending", "counted_ms", "total", "done",
        "succeeded", "checkpoint_attempt", "size_bytes", "width", "height", "changed_ns", "revision", "locked_until_ms",
        "rejected", "unfinished", "rounds", "version", "made", "missed", "at_ms", "until_ms",
    }
)  # fmt: skip
REALS = frozenset({"filesize", "duration"})
NEEDED = frozenset(
    {
        "counted_ms",
        "total",
        "done",
        "succeeded",
        "revision",
        "rejected",
        "unfinished",
        "rounds",
        "version",
        "made",
        "missed",
        "at_ms",
        "until_ms",
    }
)  # these are never NULL
BYTES = frozenset({"raw_job"})
"""The columns of whole numbers, of other numbers, and of bytes; all others have text. SQLite keeps any value."""


IDENTIFIED: Mapping[Table, int] = MappingProxyType(
    {
        Table.HISTORY: COLUMNS[Table.HISTORY].index("job_id"),
        Table.LEDGER: COLUMNS[Table.LEDGER].index("task_id"),
    }
)
"""The tables in which ids are unique, and the place of the id in a row."""


class Role(StrEnum):
    """Which end of a move a store is."""

    SOURCE = "source"
    TARGET = "target"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A store's part in a move, as it keeps it.

    Attributes:
        move_id: The same in both stores.
        other: The name of the other store.
        table: In the target: the table whose rows come next; None in the source, and once all tables are there.
        cursor: In the target: the source's cursor of the rows that come next.
    """

    move_id: str
    role: Role
    other: str
    table: Table | None = None
    cursor: str | None = None
    is_finished: bool = False


class Row(msgspec.Struct, frozen=True):
    """A row of a table.

    Attributes:
        label: How a report names it.
        values: In the order of `COLUMNS`.
        is_outdated: A newer row of the same table has its id. Only files of the original system have such rows.
    """

    label: str
    values: tuple[Value, ...]
    is_outdated: bool = False


class Portion(msgspec.Struct, frozen=True):
    """Some rows of a table, and the cursor of the rows behind them; None at the end."""

    rows: list[Row]
    following: str | None


class Fitted(msgspec.Struct, frozen=True):
    """A row as another store can keep it; see `everpost.store.fitting`.

    Attributes:
        values: None if that store cannot keep the row.
        faults: What cannot be kept unchanged, and why the row is left out.
    """

    values: tuple[Value, ...] | None
    faults: tuple[str, ...] = ()


class MovedStore(Protocol):
    """A store that is one end of a move, and that no other process uses meanwhile. Writes are durable.

    All methods raise `Unavailable` if the store fails.
    """

    @property
    def name(self) -> str:
        """How messages name the store. It holds no password."""

    async def mark(self) -> Mark | None:
        """The store's part in its last move; None if it never was part of one."""

    async def set_mark(self, before: Mark | None, after: Mark | None) -> None:
        """Replace the mark. As the source, the store takes no other writes from now on; without a mark, it does again.

        Raises:
            DatabaseUnusable: The mark is not `before`: another process moves the same store.
        """

    async def check_new(self) -> None:
        """Check that the store can become a target.

        Raises:
            DatabaseUnusable: It has rows, or is part of an unfinished move.
        """

    async def begin(self, mark: Mark) -> None:
        """Become the target of a move: keep its mark, and forget the values of `everpost.store.meta.Meta`.

        Raises:
            DatabaseUnusable: See `check_new`.
        """

    async def count(self, table: Table) -> int:
        """How many rows a table has."""

    async def portion(self, table: Table, cursor: str | None, limit: int) -> Portion:
        """The next rows of a table, at most `limit`, and fewer if they are large. Their order never changes.

        Args:
            cursor: None is the beginning.
        """

    def fit(self, table: Table, row: Row) -> Fitted:
        """The row as this store can keep it. The same row always fits in the same way."""

    async def write(self, table: Table, rows: Sequence[tuple[Value, ...]], before: Mark, after: Mark) -> None:
        """Add rows and replace the mark, in one transaction.

        Raises:
            DatabaseUnusable: The mark is not `before`: another process moves into the same store.
        """

    async def close(self) -> None:
        """Let other processes use the store again."""


def check_open(mark: Mark | None) -> None:
    """Check that a store may be opened.

    Raises:
        DatabaseUnusable: It was moved to another store, or a move into it is not finished.
    """
    if mark is None or (mark.role is Role.TARGET and mark.is_finished):
        return
    if mark.role is Role.TARGET:
        raise DatabaseUnusable(f"A move from {mark.other} into this database is unfinished: repeat `everpost move`.")
    if mark.is_finished:
        raise DatabaseUnusable(
            f"This database was moved to {mark.other}, which may have changed since. Point EVERPOST_DATABASE there; "
            "`everpost move` can also move it back, into a new database."
        )
    raise DatabaseUnusable(
        f"This database is being moved to {mark.other}: repeat `everpost move` to finish, or add --abandon to stop."
    )


def not_empty(name: str) -> DatabaseUnusable:
    """The refusal of a target that has rows."""
    return DatabaseUnusable(f"{name} is not empty: a database is moved into a new one only.")


def read_mark(text: str | None) -> Mark | None:
    """The mark as `write_mark` wrote it.

    Raises:
        DatabaseUnusable: It is damaged, or a newer Everpost's.
    """
    try:
        return None if text is None else msgspec.json.decode(text, type=Mark)
    except msgspec.DecodeError as error:
        raise DatabaseUnusable(f"The database's record of its move cannot be read: {error}.") from error


def write_mark(mark: Mark | None) -> str | None:
    """The mark as text; None for no mark."""
    return None if mark is None else msgspec.json.encode(mark).decode()


def check_mark(found: Mark | None, wanted: Mark | None, name: str) -> None:
    """Check that a store's mark is the expected one.

    Raises:
        DatabaseUnusable: It is another one.
    """
    if found != wanted:
        raise DatabaseUnusable(f"Another process is moving {name}, or has moved it just now; nothing was changed.")
