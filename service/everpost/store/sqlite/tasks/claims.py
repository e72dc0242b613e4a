"""The ledger's facts about claimed jobs, and the rows of tasks that only Redis knew."""

from collections.abc import Mapping, Sequence

import msgspec

from everpost.store.ledger import ClaimedTasks, ClaimFacts, LostAttempts
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import use_files
from everpost.store.sqlite.queries import load
from everpost.store.task_rows import accepted_row
from everpost.task.model import Task


def check_claims(connection: sqlite3.Connection, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
    """See `everpost.store.ledger.Ledger.check_claims`."""
    sizes = {task_id: -1 if data is None else len(data) for task_id, data in offered.items()}
    parameters = {"sizes": msgspec.json.encode(sizes).decode()}
    rows, data, accounts_version = connection.execute(load("check_claims"), parameters).fetchone()
    found = msgspec.json.decode(rows, type=list[ClaimFacts])
    known = {facts.task_id: facts for facts in found}
    missing = [task_id for task_id in offered if task_id not in known]
    ended: set[str] = set()
    if missing:
        task_ids = msgspec.json.encode(missing).decode()
        ended = {row[0] for row in connection.execute(load("ended_among"), {"task_ids": task_ids})}
    return ClaimedTasks(known, ended, _differing(found, data or b"", offered), accounts_version)


def _differing(found: Sequence[ClaimFacts], data: bytes, offered: Mapping[str, bytes | None]) -> list[str]:
    """The tasks whose data differs from the offered. `data` joins the data of all tasks whose size is as offered."""
    expected = [offered[facts.task_id] or b"" for facts in found if facts.has_size]
    if len(expected) == len(found) and b"".join(expected) == data:  # nearly always
        return []
    differing, start = [], 0
    for facts in found:
        one = offered[facts.task_id]
        if not facts.has_size:
            differing.append(facts.task_id)
            continue
        assert one is not None, "only what was offered has a size"
        if data[start : start + len(one)] != one:
            differing.append(facts.task_id)
        start += len(one)
    return differing


def adopt_tasks(connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int) -> ClaimedTasks:
    """See `everpost.store.ledger.Ledger.adopt`."""
    asked = {task.task_id: None for task in tasks}
    before = check_claims(connection, asked)
    ended = before.ended
    for task in tasks:
        if task.task_id not in before.known and task.task_id not in ended:
            try:
                connection.execute(load("accept_task"), accepted_row(task, now_ms))
                use_files(connection, [task])
            except sqlite3.IntegrityError:  # a live retry stands for it: the index `task_queue_one_live_retry`
                ended.add(task.task_id)
    after = check_claims(connection, asked)
    return ClaimedTasks(after.known, ended, [], after.accounts_version)


def note_lost_attempts(
    connection: sqlite3.Connection, task_ids: Sequence[str], rule: LostAttempts
) -> dict[str, ClaimFacts]:
    """See `everpost.store.ledger.Ledger.note_lost_attempts`."""
    asked = dict.fromkeys(task_ids)
    for facts in check_claims(connection, asked).known.values():
        rows = [
            {"task_id": facts.task_id, "number": attempt.number, "attempt": msgspec.json.encode(attempt).decode()}
            for attempt in rule(facts)
        ]
        connection.executemany(load("note_lost_attempt"), rows)
    return check_claims(connection, asked).known
