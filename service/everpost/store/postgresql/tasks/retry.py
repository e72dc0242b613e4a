"""Retries: the chains are locked, and the new ledger rows written (I5)."""

from collections.abc import Mapping, Sequence

from everpost.store.changes import Outcome, Retry, WantedRetry
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.store.postgresql.tasks.positions import lock_chains
from everpost.store.postgresql.tasks.resolve import replace_unknown
from everpost.store.successions import (
    Succession,
    decide_retries,
    decisions_of,
    positions_of,
    replaced_in_history,
    replaced_in_ledger,
    with_decisions,
)
from everpost.store.task_rows import accepted_row
from everpost.task.resolution_rules import Decided


async def retry_tasks(connection: Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: wanted for number, wanted in enumerate(change.wanted) if number not in outcomes}:
        outcomes |= await _retry_some(connection, change, left, now_ms)
    return [outcomes[number] for number in range(len(change.wanted))]


async def _retry_some(
    connection: Connection, change: Retry, left: Mapping[int, WantedRetry], now_ms: int
) -> Mapping[int, Outcome]:
    told = [wanted.position for wanted in left.values()]
    locked = await lock_chains(connection, {position.task_id: position.chain_id for position in told})
    positions = positions_of(left, locked.positions)
    outcomes, successions = decide_retries(change, left, positions, locked.chains)
    return with_decisions(outcomes, await _write(connection, change, successions, now_ms))


async def _write(
    connection: Connection, change: Retry, successions: Sequence[Succession], now_ms: int
) -> list[Decided]:
    """Write the new tasks; the decisions that were kept with them."""
    await end_tasks(connection, replaced_in_ledger(successions))
    messages = replaced_in_history(successions)
    if messages:
        await connection.run("replace_waiting", task_ids=list(messages), messages=list(messages.values()))
    if successions:
        rows = [accepted_row(one.task, now_ms) for one in successions]
        await connection.fetch_all("accept_tasks", rows=json_text(rows))
    decided = decisions_of(successions, change, now_ms)
    await replace_unknown(connection, decided)
    return decided
