"""Batches that count their unfinished tasks, while another transaction counts too."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import pytest

from everpost.store import Store
from everpost.store.changes import Change
from everpost.testing import eventually
from postgresql.kit import PostgresqlKit
from store_contract.making import record_of
from store_contract.test_callbacks import URL, posting_of
from store_contract.test_changes import FORCED, NOW_MS, cancel_of
from store_rows import START_MS, make_task, retry_as

TASKS = ("1", "2", "3", "4")
FREE = "SELECT FROM batches WHERE batch_id = 'b' FOR UPDATE NOWAIT"

Write = Callable[[Store], Awaitable[object]]


async def _post(store: Store) -> None:
    """Two tasks of the batch `b`, and two of the batch `a`, whose ids are higher."""
    for batch_id, task_ids in (("b", TASKS[:2]), ("a", TASKS[2:])):
        tasks = [make_task(task_id, batch_id=batch_id, callback_url=URL) for task_id in task_ids]
        await store.batches.accept(posting_of(*tasks, batch_id=batch_id), START_MS)


def _end(task_ids: Sequence[str]) -> Write:
    return lambda store: store.ledger.end([record_of(task_id) for task_id in task_ids])


def _end_with_an_overtaken_one(store: Store) -> Awaitable[object]:
    return store.ledger.end([record_of(task_id) for task_id in TASKS], [record_of("1", number=2)])


def _apply(change: Change) -> Write:
    return lambda store: store.changes.apply(change, NOW_MS)


async def _retry_ended(store: Store) -> None:
    """One after the other, since only their retries may meet another transaction."""
    retries = {task_id: make_task(f"{task_id}-again", created_at_ms=NOW_MS, callback_url=URL) for task_id in TASKS}
    await store.changes.apply(retry_as(retries, FORCED), NOW_MS)


async def _waits_with_b_free(store: Store, kit: PostgresqlKit, address: str, write: Write) -> bool:
    """While another transaction has batch `a` locked: whether a write waits for it, and has not locked `b` yet."""
    with psycopg.connect(address) as other, psycopg.connect(address) as third:
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("SELECT FROM batches WHERE batch_id = 'a' FOR UPDATE")
        writing = asyncio.ensure_future(write(store))

        async def waits() -> bool:
            return writing.done() or kit.count_waiting() > 0

        await eventually(waits, what="a write that waits")
        try:
            third.execute(FREE)
            is_free = True
        except psycopg.errors.LockNotAvailable:
            is_free = False
        third.rollback()
        assert not writing.done()
        other.rollback()
        await writing
    return is_free


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_end(TASKS), id="ends"),
        pytest.param(_end(TASKS[::-1]), id="ends in the other order"),
        pytest.param(_end_with_an_overtaken_one, id="ends with an overtaken one"),
        pytest.param(_apply(cancel_of(*TASKS)), id="cancels"),
    ],
)
async def test_batches_are_counted_in_the_order_of_their_ids(
    store: Store, kit: PostgresqlKit, address: str, write: Write
) -> None:
    await _post(store)
    assert await _waits_with_b_free(store, kit, address, write)


async def test_batches_are_counted_in_that_order_when_their_ended_tasks_are_retried(
    store: Store, kit: PostgresqlKit, address: str
) -> None:
    await _post(store)
    await store.ledger.end([record_of(task_id) for task_id in TASKS])
    assert await _waits_with_b_free(store, kit, address, _retry_ended)


async def test_batches_are_counted_in_that_order_when_their_retries_end(
    store: Store, kit: PostgresqlKit, address: str
) -> None:
    await _post(store)
    await store.ledger.end([record_of(task_id) for task_id in TASKS])
    await _retry_ended(store)
    assert await _waits_with_b_free(store, kit, address, _end([f"{task_id}-again" for task_id in TASKS]))
