"""What a purge finds left behind by destroyed tasks: their batches, and the callbacks about them."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.callbacks import subject_of


class Swept(msgspec.Struct, frozen=True):
    """One step of a walk: how many tasks it destroyed, and the place where the next one begins; empty at the end."""

    destroyed: int
    following: Sequence[str] = ()


Step = Callable[[sqlite3.Connection, Sequence[str], int, str], Swept]
"""A step from a place, over at most so many rows, of those created before a time."""


async def purge_left_behind(database: Database, before_ms: int, pace: Pace) -> AsyncIterator[int]:
    """Destroy batches without any task, and then ended callbacks about what is nowhere; yield how many callbacks.

    Args:
        before_ms: What was created later stays.
    """
    for step, place in ((_purge_batches, ("",)), (_purge_callbacks, ("", "", ""))):
        following: Sequence[str] = place
        while following:
            async with pace.step() as size:
                swept = await database.write(pace.timed(partial(_run, step, following, size, to_text(before_ms))))
            following = swept.following
            if swept.destroyed:
                yield swept.destroyed


def _run(step: Step, after: Sequence[str], limit: int, before: str, connection: sqlite3.Connection) -> Swept:
    return step(connection, after, limit, before)


def _purge_batches(connection: sqlite3.Connection, after: Sequence[str], limit: int, before: str) -> Swept:
    asked = {"after": after[0], "before": before, "limit": limit}
    found = connection.execute(load("page_batches"), asked).fetchall()
    lost = [batch_id for batch_id, has_tasks in found if not has_tasks]
    if lost:
        connection.execute(load("purge_batches"), {"batch_ids": json_list(lost)})
    return Swept(0, found[-1][:1] if len(found) == limit else ())


def _purge_callbacks(connection: sqlite3.Connection, after: Sequence[str], limit: int, before: str) -> Swept:
    place = dict(zip(("status", "created_at", "task_id"), after, strict=True))
    found = connection.execute(load("page_callbacks"), {**place, "before": before, "limit": limit}).fetchall()
    subjects = {row: subject_of(root_id) for row, *_, root_id in found}
    known = {one for (one,) in connection.execute(load("find_subjects"), {"ids": json_list(set(subjects.values()))})}
    lost = [row for row, subject in subjects.items() if subject not in known]
    if lost:
        rows = {"rows": msgspec.json.encode(lost).decode()}
        connection.execute(load("unsearch_rows"), rows)
        connection.execute(load("forget_rows"), rows)
    return Swept(len(lost), found[-1][1:4] if len(found) == limit else ())
