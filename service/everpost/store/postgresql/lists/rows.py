"""A row of a page: what it shows of a task's attempts is read from their JSON here, not by PostgreSQL."""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.store.history import TaskRow
from everpost.store.lists.rows import task_row
from everpost.task.model import TaskStatus

STATUS, ATTEMPTS, EVIDENCE = map(TaskRow.__struct_fields__.index, ("status", "attempts", "evidence"))


def task_of_row(row: list[Any], zone: tzinfo) -> TaskRow:
    """The task of a row of `rows_of_history.sql` or `rows_of_ledger.sql`."""
    attempts = _read(row[ATTEMPTS])
    evidence = next((one["evidence"] for one in reversed(attempts) if one.get("evidence") is not None), None)
    if row[STATUS] == TaskStatus.UNKNOWN and evidence is not None:
        row[EVIDENCE] = msgspec.json.encode(evidence)
    row[ATTEMPTS] = sum(1 + _omitted(one) for one in attempts)
    return task_row(row, zone)


def _read(text: str | None) -> list[dict[str, Any]]:
    """The attempts; none if another program wrote something else into the column."""
    try:
        attempts = msgspec.json.decode(text or "[]")
    except (msgspec.DecodeError, RecursionError):
        return []
    return [one if isinstance(one, dict) else {} for one in _listed(attempts)]


def _listed(attempts: Any) -> Iterable[Any]:
    return attempts if isinstance(attempts, list) else ()


def _omitted(attempt: dict[str, Any]) -> int:
    omitted = attempt.get("omitted")
    return omitted if isinstance(omitted, int) else 0
