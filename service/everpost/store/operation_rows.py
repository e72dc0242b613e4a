"""Operations as the named values of rows, for the statements of any store."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.clock import to_text
from everpost.store.changes import Outcome
from everpost.store.operations import KEPT_SKIPS, REMEMBERED, Operation, OperationStatus


def step_row(operation: Operation, outcomes: Sequence[Outcome], following: str | None, now_ms: int) -> dict[str, Any]:
    """The progress of a step, and the owner and position that the operation must have.

    `request` is None if it stays as it is.
    """
    return {
        "operation_id": operation.operation_id,
        "owner": operation.owner,
        "position": operation.position,
        "following": following,
        "request": without_ids(operation.request) if following is None else None,
        "status": (OperationStatus.DONE if following is None else OperationStatus.RUNNING).value,
        "done": len(outcomes),
        "succeeded": sum(outcome.reason is None for outcome in outcomes),
        "now": to_text(now_ms),
    }


def without_ids(request: str) -> str:
    """A request as it is kept after its operation's end: its ids may be a megabyte."""
    fields = msgspec.json.decode(request)
    for members in (fields, fields.get("filter")):
        if isinstance(members, dict):
            members.pop("task_ids", None)
    return msgspec.json.encode(fields).decode()


def skip_rows(operation: Operation, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The skips of a step that are kept; `operation` is as before the step."""
    room = KEPT_SKIPS - (operation.done - operation.succeeded)
    skipped = [outcome for outcome in outcomes if outcome.reason is not None]
    return [
        {"operation_id": operation.operation_id, "task_id": outcome.task_id, "reason": outcome.reason}
        for outcome in skipped[: max(0, room)]
    ]


def done_rows(operation: Operation, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The tasks of a step that are kept, so that the operation can be undone."""
    if operation.kind not in REMEMBERED:
        return []
    return [
        {"operation_id": operation.operation_id, "task_id": outcome.task_id}
        for outcome in outcomes
        if outcome.reason is None
    ]


def claim_row(owner: str, before_ms: int, now_ms: int) -> dict[str, Any]:
    """The new owner, and the times outside of which an operation's last step counts as abandoned."""
    return {
        "owner": owner,
        "now": to_text(now_ms),
        "before": to_text(before_ms),
        "after": to_text(2 * now_ms - before_ms),
    }


def operation_of(row: Mapping[str, Any]) -> Operation:
    """The operation in a row."""
    return Operation(**{**row, "status": OperationStatus(row["status"])})
