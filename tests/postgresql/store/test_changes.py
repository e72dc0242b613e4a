"""People's changes in PostgreSQL: what their rules decide on, while other transactions are at work."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from everpost.store import Store
from everpost.store.changes import BringBack, Change, Outcome
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from everpost.testing import eventually
from postgresql.kit import PostgresqlKit
from store_contract.making import accept, add_ended
from store_contract.test_changes import NOW_MS, apply, cancel_of, remove_of, resolve_of, retry_of, state

LOCK_CHAIN = "SELECT pg_advisory_xact_lock(hashtextextended('root', 0))"


@pytest.fixture
def worker(address: str, store: Store) -> Iterator[psycopg.Connection]:
    """Another process, in a transaction."""
    with psycopg.connect(address) as connection:
        connection.execute("SET deadlock_timeout = '60s'")  # in a deadlock, the other transaction is undone
        connection.commit()
        yield connection
        connection.rollback()


async def waiting(store: Store, kit: PostgresqlKit, change: Change) -> "asyncio.Task[list[Outcome]]":
    """A change that has begun, and waits for a lock."""
    running = asyncio.create_task(store.changes.apply(change, NOW_MS))

    async def waits() -> bool:
        return running.done() or kit.count_waiting() > 0

    await eventually(waits, what="a change that waits")
    assert not running.done()
    return running


async def test_a_rule_waits_for_what_a_worker_is_writing(
    store: Store, kit: PostgresqlKit, worker: psycopg.Connection
) -> None:
    await accept(store, "task")
    worker.execute("UPDATE task_queue SET sending = 1, status = 'running'")
    cancelling = await waiting(store, kit, cancel_of("task"))
    worker.commit()
    assert [outcome.reason for outcome in await cancelling] == ["task_running"]
    assert state(kit) == {"task": (Place.LEDGER, "running")}


async def test_a_task_that_ends_meanwhile_is_found_in_the_history(
    store: Store, kit: PostgresqlKit, worker: psycopg.Connection
) -> None:
    await accept(store, "task")
    worker.execute("INSERT INTO publish_tasks (job_id, status) SELECT task_id, 'success' FROM task_queue")
    worker.execute("DELETE FROM task_queue")
    removing = await waiting(store, kit, remove_of("task"))
    worker.commit()
    assert [outcome.reason for outcome in await removing] == [None]
    assert state(kit) == {"task": (Place.ARCHIVE, "success")}


async def test_a_task_comes_back_in_no_moment_in_which_another_change_looks_at_its_chain(
    store: Store, kit: PostgresqlKit, worker: psycopg.Connection
) -> None:
    await add_ended(store, "root")
    await add_ended(store, "again", retry_of="root", root_id="root", generation=1, status=TaskStatus.SUCCESS)
    await apply(store, remove_of("again"))
    worker.execute(LOCK_CHAIN)
    coming_back = await waiting(store, kit, BringBack(["again"]))
    worker.commit()
    assert [outcome.reason for outcome in await coming_back] == [None]
    assert state(kit)["again"] == (Place.HISTORY, "success")


async def test_a_retry_waits_for_another_change_of_its_chain_and_sees_what_that_added(
    store: Store, kit: PostgresqlKit, worker: psycopg.Connection
) -> None:
    await add_ended(store, "root")
    await add_ended(store, "again", retry_of="root", root_id="root", generation=1)
    worker.execute(LOCK_CHAIN)
    retrying = await waiting(store, kit, retry_of(("again", "late")))
    worker.execute("INSERT INTO task_queue (task_id, root_id, accepted_by) VALUES ('live', 'root', 'another')")
    worker.commit()
    (outcome,) = await retrying
    assert (outcome.reason, outcome.other_task_id) == ("retry_exists", "live")


async def test_a_change_that_a_deadlock_has_undone_is_made_again(
    store: Store, kit: PostgresqlKit, worker: psycopg.Connection
) -> None:
    await accept(store, "a", "b")
    worker.execute("UPDATE task_queue SET error_message = 'x' WHERE task_id = 'b'")
    cancelling = await waiting(store, kit, cancel_of("a", "b"))
    await asyncio.to_thread(worker.execute, "UPDATE task_queue SET error_message = 'x' WHERE task_id = 'a'")
    worker.commit()
    assert [outcome.reason for outcome in await cancelling] == [None, None]
    assert state(kit) == dict.fromkeys("ab", (Place.HISTORY, "cancelled"))


async def test_ids_that_postgresql_cannot_hold_belong_to_no_task(store: Store) -> None:
    odd = ["a\0b", "\ud800"]
    await add_ended(store, "a\ufffdb", status=TaskStatus.UNKNOWN)
    for whole in (False, True):
        assert [task.position for task in await store.changes.find(odd, whole=whole)] == [None, None]
    for task_id in odd:
        for change in (cancel_of(task_id), remove_of(task_id), resolve_of(task_id)):
            assert (await apply(store, change)).reason == "task_not_found"
