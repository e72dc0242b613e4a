"""Decisions of people about tasks of unknown outcome, table `decisions`: each is kept for ever, and one counts."""

from collections.abc import Sequence

import msgspec

from everpost.store.changes import Outcome, Resolve, refused, told_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import plain_text, storable
from everpost.store.postgresql.lists.detail import find_decisions
from everpost.store.postgresql.media.uses import mark_published
from everpost.store.postgresql.queries import ENDED_TABLES
from everpost.store.postgresql.tasks.positions import lock_tasks
from everpost.task.model import TaskStatus
from everpost.task.place import Position
from everpost.task.resolution_rules import Decided


async def resolve_tasks(connection: Connection, change: Resolve) -> list[Outcome]:
    """See `everpost.store.changes.Resolve`."""
    positions = (await lock_tasks(connection, [decided.task_id for decided in change.decided])).positions
    return [await _resolve(connection, change, decided, positions.get(decided.task_id)) for decided in change.decided]


async def _resolve(connection: Connection, change: Resolve, decided: Decided, position: Position | None) -> Outcome:
    task_id = decided.task_id
    refusal = change.rule(task_id, position, await find_decisions(connection, storable(task_id)))
    if refusal is not None:
        return refused(task_id, refusal)
    await _change(
        connection,
        "mark_succeeded",
        task_id=task_id,
        decided_at=decided.decided_at,
        provider_post_id=plain_text(decided.provider_post_id),
        publish_url=plain_text(decided.publish_url),
    )
    await mark_published(connection, task_id, decided.decided_at)
    await _keep(connection, decided)
    return Outcome(task_id=task_id, decided=decided, told=told_of(position))


async def replace_unknown(connection: Connection, decided: Sequence[Decided]) -> None:
    """Keep decisions to send tasks again, and cancel those of them that are unknown."""
    for one in decided:
        await _keep(connection, one)
        if one.status_before == TaskStatus.UNKNOWN:
            await _change(
                connection,
                "replace_unknown",
                task_id=one.task_id,
                decided_at=one.decided_at,
                new_task_id=one.new_task_id,
            )


async def _keep(connection: Connection, decided: Decided) -> None:
    values = msgspec.structs.asdict(decided)
    await connection.run("keep_decision", **{name: plain_text(value) for name, value in values.items()})


async def _change(connection: Connection, statement: str, **values: str | None) -> None:
    """Apply a statement to the first table that has the unknown task."""
    for table in ENDED_TABLES:
        if await connection.run(f"{statement}_{table}", **values):
            return
