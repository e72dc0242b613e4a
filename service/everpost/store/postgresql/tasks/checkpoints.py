"""Checkpoints of running attempts."""

from collections.abc import Sequence

import msgspec

from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.task.earlier_attempts import may_save


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint that an attempt asks to save."""

    task_id: str
    attempt: int
    checkpoint: str
    now: str


async def save_checkpoints(connection: Connection, asked: Sequence[Checkpoint]) -> list[bool]:
    """Save checkpoints, of one task in the given order; which of them were saved."""
    task_ids = list({each.task_id for each in asked})
    rows = {row["task_id"]: row for row in await connection.fetch_all("lock_claims", task_ids=task_ids)}
    saved: dict[str, Checkpoint] = {}
    answers = []
    for each in asked:
        row = rows.get(each.task_id)
        answers.append(
            row is not None and may_save(each.attempt, row["attempts"], row["sending"], row["checkpoint_attempt"])
        )
        if row is not None and answers[-1]:
            row["checkpoint_attempt"] = each.attempt
            saved[each.task_id] = each
    if saved:
        await connection.run("save_checkpoints", rows=json_text(list(saved.values())))
    return answers
