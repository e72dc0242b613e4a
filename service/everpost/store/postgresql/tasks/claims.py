"""The ledger's facts about claimed jobs, and the rows of tasks that only Redis knew."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from everpost.clock import SinceBoot
from everpost.store.ledger import ClaimedTasks, ClaimFacts, LostAttempts
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.media.uses import use_files
from everpost.store.postgresql.tasks.attempts import Attempts
from everpost.store.postgresql.tasks.typed_rows import accepted_values
from everpost.task.model import Attempt, Task


async def check_claims(connection: Connection, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
    """See `everpost.store.ledger.Ledger.check_claims`.

    The ledger is read before the history: a task that ends in between is found in both, not in neither.
    """
    sizes = [-1 if data is None else len(data) for data in offered.values()]
    rows = await connection.fetch_all("check_claims", task_ids=list(offered), sizes=sizes) if offered else []
    known = {row["task_id"]: facts_of(row) for row in rows}
    differing = [row["task_id"] for row in rows if _as_bytes(row["data"]) != (offered[row["task_id"]] or b"")]
    missing = [task_id for task_id in offered if task_id not in known]
    accounts_version = rows[0]["accounts_version"] if rows else None
    return ClaimedTasks(known, await _ended_among(connection, missing), differing, accounts_version)


def facts_of(row: Record) -> ClaimFacts:
    """The facts in a row."""
    return ClaimFacts(
        row["task_id"],
        row["status"],
        row["spent"],
        row["sending"],
        row["chain_id"],
        row["generation"],
        row["platform"],
        row["attempts"],
        checkpoint=row["checkpoint"],
        late_at=row["late_at"],
        due_at=row["due_at"],
    )


def _as_bytes(data: str | None) -> bytes | None:
    return None if data is None else data.encode()


async def _ended_among(connection: Connection, task_ids: Sequence[str]) -> set[str]:
    rows = await connection.fetch_all("ended_among", task_ids=task_ids) if task_ids else []
    return {row["task_id"] for row in rows}


async def adopt_tasks(connection: Connection, tasks: Sequence[Task], now_ms: int) -> ClaimedTasks:
    """See `everpost.store.ledger.Ledger.adopt`."""
    asked = {task.task_id: None for task in tasks}
    if not asked:
        return ClaimedTasks({}, set(), [])
    await connection.fetch_value("lock_ids", task_ids=list(asked))
    before = await check_claims(connection, asked)
    new = [task for task in tasks if task.task_id not in before.known and task.task_id not in before.ended]
    await accept_missing(connection, new, now_ms)
    after = await check_claims(connection, asked)
    return ClaimedTasks(after.known, asked.keys() - after.known.keys(), [], after.accounts_version)


async def accept_missing(connection: Connection, tasks: Sequence[Task], now_ms: int) -> None:
    """Write tasks into the ledger, each unless some place has it already, or a retry of it lives."""
    if not tasks:
        return
    rows = await connection.write_rows("accept_missing", accepted_values(tasks, now_ms))
    # One of them may have been accepted and have ended after the places were looked at. This statement sees its end.
    added = {row["task_id"] for row in rows}
    await use_files(connection, [task for task in tasks if task.task_id in added])
    ended = await _ended_among(connection, list(added))
    if ended:
        await connection.run("forget_adopted", task_ids=list(ended))


async def note_lost_attempts(
    connection: Connection, task_ids: Collection[str], rule: LostAttempts
) -> dict[str, ClaimFacts]:
    """See `everpost.store.ledger.Ledger.note_lost_attempts`."""
    rows = await connection.fetch_all("lock_claims", task_ids=list(task_ids))
    changed: dict[str, str | None] = {}
    for row in rows:
        attempts = Attempts(row["attempts"])
        for attempt in rule(facts_of(row)):
            if attempt.number not in attempts.numbers:
                attempts.add_lost(_dated(attempt, row))
        if attempts.text != row["attempts"]:
            row["attempts"] = changed[row["task_id"]] = attempts.text
    await note_attempts(connection, changed)
    return {row["task_id"]: facts_of(row) for row in rows}


async def note_attempts(connection: Connection, changed: Mapping[str, str | None]) -> None:
    """Write the lists of attempts of tasks that are locked."""
    if changed:
        await connection.run("note_attempts", task_ids=list(changed), attempts=list(changed.values()))


def _dated(attempt: Attempt, row: Record) -> Attempt:
    """A lost attempt began when its intent was written; without an intent, no earlier than it was due."""
    has_intent = row["sending"] == attempt.number
    return msgspec.structs.replace(
        attempt,
        started_at=(row["started_at"] if has_intent else None) or row["earliest"] or "",
        since_boot=_since_boot(row["sending_since"]) if has_intent else None,
    )


def _since_boot(text: str | None) -> SinceBoot | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=SinceBoot)
    except msgspec.MsgspecError:
        return None
