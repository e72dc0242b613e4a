"""Edits as the named values of rows, for the statements of any store."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from everpost.clock import to_text, to_text_or_none
from everpost.errors import DuplicatePost
from everpost.store.changes import Outcome, refused
from everpost.task.duplicate_rules import Guard
from everpost.task.edit_rules import Edited, KeptEdit
from everpost.task.place import Position

SHOWN_EDITS = 100  # the newest edits that a detail shows


def edited_row(edited: Edited, now_ms: int) -> dict[str, Any]:
    """The new version of a task, and the edit that is kept."""
    return {
        "task_id": edited.task_id,
        "task_data": edited.task_data.decode(),
        "priority": edited.priority,
        "platform": edited.platform,
        "account_id": edited.account_id,
        "title": edited.title,
        "is_rescheduled": int(edited.is_rescheduled),
        "status": edited.status_at(now_ms).value,
        "due_at": to_text_or_none(edited.due_at_ms),
        "has_new_limit": int(edited.has_new_limit),
        "late_at": to_text_or_none(edited.late_at_ms),
        "callback_url": edited.callback_url,
        "is_rewritten": int(edited.is_rewritten),
        "edited_at": to_text(now_ms),
        "edited_by": edited.edited_by,
        "why": edited.why,
        "patch": edited.patch.decode(),
        "before": edited.former.decode(),
    }


def kept_edits(rows: Iterable[Mapping[str, Any]]) -> list[KeptEdit]:
    """The edits in rows that come newest first; the oldest first."""
    edits = [
        KeptEdit(
            edited_at=row["edited_at"],
            edited_by=row["edited_by"],
            why=row["why"],
            patch=_json(row["patch"]),
            before=_json(row["before"]),
        )
        for row in rows
    ]
    return edits[::-1]


def _json(text: str) -> msgspec.Raw:
    """The text as JSON; `{}` if another program wrote something else."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.Raw(b"{}")
    return msgspec.Raw(text.encode())


def guards_of(outcomes: Iterable[Outcome], positions: Mapping[str, Position]) -> dict[str, Guard]:
    """The guards of new versions, which are not compared with their own chains."""
    return {
        edited.task_id: msgspec.structs.replace(edited.guard, chain_id=positions[edited.task_id].chain_id)
        for outcome in outcomes
        if (edited := outcome.edited) is not None and edited.guard is not None
    }


def without_duplicates(outcomes: Iterable[Outcome], duplicates: Mapping[str, str]) -> list[Outcome]:
    """The outcomes, as refusals of new versions whose content another task has."""
    return [
        refused(outcome.task_id, DuplicatePost(duplicates[outcome.task_id]))
        if outcome.edited is not None and outcome.task_id in duplicates
        else outcome
        for outcome in outcomes
    ]
