"""Rows as values of the types of `schema/`: the statements that each task needs take such rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.clock import to_text
from everpost.store.ledger import Once
from everpost.store.postgresql.link.connection import TypedRow
from everpost.store.postgresql.link.texts import plain_text
from everpost.store.task_rows import accepted_row, ended_row, failure_of
from everpost.task.model import Task, TaskRecord

ACCEPTED = (
    "task_id", "priority", "status", "task_data", "created_at", "platform", "account_id", "title", "due_at", "retry_of",
    "root_id", "generation", "batch_id", "accepted_by", "callback_url", "late_at",
    "submitted_by",
)  # fmt: skip
REQUEST = ("task_id", "fingerprint", "accepted_id", "created_at", "answer", "kept_ms", "tasks")
INTENT = ("task_id", "attempt", "earlier", "now", "since_boot")
ENDED = (
    "task_id", "status", "finished_at", "queued_at", "started_at", "attempt", "error_class", "error_message", "result",
    "provider_post_id", "publish_url", "platform", "account_id", "material_id", "title", "tags", "cover",
    "schedule_time", "publish_mode",
)  # fmt: skip
FAILED = (*ENDED, "cause", "ended_s")

TYPES = {
    "everpost_accepted_by": ACCEPTED,
    "everpost_request_by": REQUEST,
    "everpost_intent": INTENT,
    "everpost_ended": ENDED,
    "everpost_failed": FAILED,
}
"""The columns of each type."""


def accepted_values(tasks: Sequence[Task], now_ms: int) -> list[TypedRow]:
    """Tasks for `accept_tasks.sql`."""
    return [values_of(accepted_row(task, now_ms), ACCEPTED) for task in tasks]


def request_values(tasks: Sequence[Task], now_ms: int, once: Once) -> TypedRow:
    """A request with a key for `accept_once.sql`."""
    row = {
        "task_id": once.key.key,
        "fingerprint": once.key.fingerprint,
        "accepted_id": once.answer.accepted_id,
        "created_at": to_text(now_ms),
        "answer": once.answer.body,
        "kept_ms": once.key.kept_ms,
        "tasks": accepted_values(tasks, now_ms),
    }
    return values_of(row, REQUEST)


def ended_values(records: Sequence[TaskRecord]) -> list[TypedRow]:
    """Records for `end_tasks.sql`, which takes the data from the ledger."""
    return [values_of(ended_row(record), ENDED) for record in records]


def failed_values(records: Sequence[TaskRecord]) -> list[TypedRow]:
    """The same for `end_failed_tasks.sql`."""
    return [values_of(ended_row(record) | (failure_of(record) or {}), FAILED) for record in records]


def values_of(row: Mapping[str, Any], columns: Sequence[str]) -> TypedRow:
    """A row's values in this order; None for what it lacks. NUL in a text becomes U+FFFD."""
    values = tuple(map(row.get, columns))
    for value in values:
        if value.__class__ is str and "\0" in value:
            return tuple(plain_text(each) if isinstance(each, str) else each for each in values)
    return values
