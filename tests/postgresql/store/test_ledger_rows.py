"""The ledger's rows in PostgreSQL: how they are found, updated and written again, and the texts they can hold."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from everpost.clock import to_text
from everpost.errors import WriteUnconfirmed
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.store.postgresql.link.connection import Connection, TypedRow
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.statements import Sql, statement
from everpost.store.postgresql.store import PostgresqlStore
from everpost.store.postgresql.tasks.typed_rows import accepted_values, ended_values
from everpost.store.relay import RelayPage
from everpost.task.model import ErrorClass, TaskColumns, TaskRecord, TaskStatus
from everpost.task.place import Place
from postgresql.kit import PostgresqlKit
from postgresql_server import shared_server
from store_contract.making import accept, add_ended, attempt_of, facts_of, record_of
from store_rows import START_MS, ids, make_task

OLD_ENOUGH_MS = START_MS + 1_000


@pytest.fixture
def database(store: Store) -> Database:
    """The store's link, to run statements by name."""
    assert isinstance(store, PostgresqlStore)
    return store.database


async def again(database: Database, name: str, rows: list[TypedRow]) -> set[str]:
    """Send rows again whose answer was lost; the ids that the statement returns."""
    found = await database.write(lambda connection: connection.write_rows(f"{name}_again", rows))
    return {row["task_id"] for row in found}


BY_ID = (
    "accept_tasks_again", "begin_send", "begin_send_again", "cancel_send", "check_claims", "defer_tasks",
    "end_failed_tasks", "end_tasks", "end_tasks_again", "lock_claims", "note_attempts", "runnable_tasks",
)  # fmt: skip


async def plan_of(database: Database, name: str) -> list[dict[str, Any]]:
    """The nodes of the plan for any parameters, which a connection keeps."""
    text, parameters = statement(name)
    nulls = ", ".join(["NULL"] * len(parameters))

    async def explain(connection: Connection) -> str:
        await connection.run_script(Sql(f"PREPARE planned AS {text}"))
        plan: str = await connection.fetch_value(Sql(f"EXPLAIN (FORMAT JSON) EXECUTE planned ({nulls})"))
        await connection.run_script(Sql("DEALLOCATE planned"))
        return plan

    return list(_nodes(json.loads(await database.read(explain))[0]["Plan"]))


@pytest.mark.parametrize("name", BY_ID)
async def test_a_plan_that_is_made_while_the_ledger_is_empty_follows_the_primary_key(
    database: Database, kit: PostgresqlKit, name: str
) -> None:
    """PostgreSQL keeps plans. It would read an empty table whole, and go on so when a million tasks wait in it."""
    kit.execute("VACUUM ANALYZE task_queue")
    scans = [node for node in await plan_of(database, name) if node.get("Relation Name") == "task_queue"]
    scans = [node for node in scans if node["Node Type"] != "ModifyTable"]
    assert scans
    for scan in scans:
        assert scan.get("Index Name") == "task_queue_pkey", scan
        assert "task_id = ANY" in scan["Index Cond"] or "task_id = given" in scan["Index Cond"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from _nodes(part)


async def test_an_attempt_writes_no_index(store: Store, database: Database) -> None:
    """All rows of a page are updated before any of them is deleted: each finds room on its page (HOT)."""
    ids = [f"t{number:03}" for number in range(200)]
    await accept(store, *(make_task(task_id, description="text " * 60) for task_id in ids))
    rows = [(task_id, 1, None, "2026-01-01T00:00:00.000Z", None) for task_id in ids]

    async def begin_all(connection: Connection) -> Any:
        assert len(await connection.write_rows("begin_send", rows)) == len(ids)
        counts = "SELECT n_tup_upd AS all, n_tup_hot_upd AS hot FROM pg_stat_xact_user_tables"
        return await connection.fetch_one(Sql(f"{counts} WHERE relname = 'task_queue'"))

    assert await database.write(begin_all) == {"all": len(ids), "hot": len(ids)}


async def test_tasks_that_are_sent_again_are_written_once_even_if_they_have_ended(
    store: Store, database: Database, kit: PostgresqlKit
) -> None:
    tasks = [make_task(task_id) for task_id in ("waits", "ended", "new")]
    await accept(store, *tasks[:2])
    await store.ledger.end([record_of("ended")])
    assert await again(database, "accept_tasks", accepted_values(tasks, START_MS)) == {"waits", "ended", "new"}
    places = {task.task_id: task.place for task in kit.tasks()}
    assert places == {"waits": Place.LEDGER, "ended": Place.HISTORY, "new": Place.LEDGER}


async def test_an_end_that_is_sent_again_is_its_own_and_another_one_is_not(store: Store, database: Database) -> None:
    await add_ended(store, "task")
    own, other = record_of("task", TaskStatus.FAILED), record_of("task", TaskStatus.SUCCESS, 2)
    assert await again(database, "end_tasks", ended_values([own])) == {"task"}
    assert await again(database, "end_tasks", ended_values([other])) == set()


async def test_an_intent_that_is_sent_again_is_its_own_and_another_one_is_not(store: Store, database: Database) -> None:
    await accept(store, "task")
    assert await store.ledger.begin_send("task", 1, START_MS)
    now, later = to_text(START_MS), to_text(START_MS + 1)
    assert await again(database, "begin_send", [("task", 1, None, now, None)]) == {"task"}
    assert await again(database, "begin_send", [("task", 2, None, now, None)]) == set()
    assert await again(database, "begin_send", [("task", 1, None, later, None)]) == set()


async def test_of_texts_that_postgresql_cannot_hold_only_the_character_nul_is_replaced(
    store: Store, kit: PostgresqlKit
) -> None:
    await accept(store, make_task("task", title="nul \0 here", account_id="\\u0000 and 🎬"))
    assert kit.columns(Place.LEDGER, "task", "title", "account_id") == ("nul \ufffd here", "\\u0000 and 🎬")
    error = "NUL \0 in an answer"
    await store.ledger.defer("task", attempt_of(1, error=error), START_MS, spent=True)
    await store.ledger.defer("task", attempt_of(2, error=error), START_MS, spent=True)
    record = record_of("task", TaskStatus.FAILED, 3, error_message=error, result='{"a": "\\u0000"}')
    await store.ledger.end([record])
    await store.ledger.end([record_of("task", number=4, provider_post_id="\0")])
    assert kit.columns(Place.HISTORY, "task", "result", "provider_post_id") == ('{"a": "\\u0000"}', "\ufffd")
    found = await store.history.find_task("task")
    assert found is not None
    assert [attempt["number"] for attempt in found.attempts] == [1, 2, 3, 4]
    assert found.attempts[0]["error"] == "NUL \ufffd in an answer"


async def test_a_stray_job_is_kept_whatever_characters_it_has(store: Store, kit: PostgresqlKit) -> None:
    data = '{"title": "\\u0000", "text": "\\\\u0000 🎬"}'
    stray = TaskRecord(
        task_id="stray",
        status=TaskStatus.FAILED,
        task_data=data.encode(),
        columns=TaskColumns(title="\0"),
        finished_at_ms=START_MS,
        error_class=ErrorClass.INVALID,
        error_message="\0",
        attempt=attempt_of(1, error="\0"),
    )
    await store.ledger.end(
        [stray, TaskRecord(task_id="no JSON", status=TaskStatus.FAILED, task_data=b"\0\xff", finished_at_ms=1)]
    )
    assert kit.columns(Place.HISTORY, "stray", "task_data", "title", "error_message") == (data, "\ufffd", "\ufffd")
    assert kit.columns(Place.HISTORY, "no JSON", "task_data") == ("\ufffd\ufffd",)


async def walk(store: Store, cursor: str | None = None) -> tuple[list[str], str | None]:
    """The ids that a walk shows, and where the next one begins."""
    page: RelayPage = await store.relay.page(cursor, OLD_ENOUGH_MS, 100)
    return [entry.task_id for entry in page.entries], page.resume_cursor


ACCEPT_LATE = """
INSERT INTO task_queue (task_id, data, created_at, accepted_by)
VALUES ('late', '{}', '2026-01-01T00:00:00.000Z', 'test')
"""


async def test_a_task_of_a_transaction_that_was_open_for_long_is_shown_once_and_no_other_again(
    store: Store, address: str
) -> None:
    with psycopg.connect(address) as connection:
        connection.execute(ACCEPT_LATE)
        await accept(store, "a", "b")
        seen, cursor = await walk(store)
        assert seen == ["a", "b"]
        await accept(store, "c")
        seen, cursor = await walk(store, cursor)
        assert seen == ["c"]
        assert await walk(store, cursor) == ([], cursor)
        connection.commit()
    seen, cursor = await walk(store, cursor)
    assert seen == ["late"]
    assert await walk(store, cursor) == ([], cursor)


async def test_a_transaction_of_another_database_holds_no_walk_back(store: Store) -> None:
    other = shared_server().new_database()
    with psycopg.connect(other) as connection:
        connection.execute(ACCEPT_LATE)
        found = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        assert found is not None
        await accept(store, "a")
        seen, cursor = await walk(store)
        assert seen == ["a"]
        assert found[0] not in late_in(cursor)
        seen, cursor = await walk(store, cursor)
        assert seen == []
        assert found[0] not in late_in(cursor)
        connection.rollback()
    assert (await walk(store, cursor))[0] == []
    shared_server().give_back(other)


async def test_many_transactions_of_another_database_that_end_during_a_walk_hold_no_later_walk_back(
    store: Store,
) -> None:
    """If one ends between a walk's snapshot and its look at the connections, only the next walk looks for its rows."""
    other = shared_server().new_database()
    ends = threading.Event()

    def write() -> None:
        with psycopg.connect(other, autocommit=True) as connection:
            while not ends.is_set():
                connection.execute("SELECT pg_current_xact_id(), pg_sleep(0.003)")

    await accept(store, "a")
    seen, cursor = await walk(store)
    assert seen == ["a"]
    writing = asyncio.gather(*(asyncio.to_thread(write) for _ in range(2)))
    try:
        for number in range(100):
            before = late_in(cursor)
            await accept(store, f"t{number}")
            seen, cursor = await walk(store, cursor)
            assert seen == [f"t{number}"]
            assert not before & late_in(cursor)
    finally:
        ends.set()
        await writing
    shared_server().give_back(other)


def late_in(cursor: str | None) -> set[int]:
    """The transactions whose rows the walk may have missed."""
    assert cursor is not None
    return set(json.loads(cursor)[3])


async def test_a_cursor_of_another_history_of_the_server_begins_anew(store: Store) -> None:
    """After a restore or a promotion, transactions have other numbers."""
    await accept(store, "a")
    _, cursor = await walk(store)
    assert cursor is not None
    timeline, after, end, *more = json.loads(cursor)
    ahead = [end[0] + 1_000_000, ""]
    for other in (["0000000F", after, end, *more], [timeline, ahead, ahead, *more]):
        assert (await walk(store, json.dumps(other)))[0] == ["a"]
    assert (await facts_of(store, "a")).status == "pending"


async def test_an_inherited_row_ends_beside_a_row_of_the_history_with_its_id(store: Store, kit: PostgresqlKit) -> None:
    kit.add(Place.LEDGER, {"task_id": "twice", "data": '{"platform": 3}'}, {"task_id": "once", "data": "{}"})
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "failed"})
    records = [record_of("twice", TaskStatus.CANCELLED), record_of("once", TaskStatus.CANCELLED)]
    assert await store.ledger.end(records) == []
    ids = {task.task_id: task.status for task in kit.tasks() if task.place is Place.HISTORY}
    assert (ids.pop("twice"), ids.pop("once")) == ("failed", "cancelled")
    (new_id,) = ids
    assert new_id.startswith("inherited-")
    assert kit.count(Place.LEDGER) == 0


@pytest.mark.parametrize("name", ["accept_tasks", "begin_send", "end_tasks"])
async def test_the_usual_statements_touch_no_partition_that_they_do_not_write(database: Database, name: str) -> None:
    """Each partition that a plan has is opened and locked each time, and there is one more every month."""
    nodes = await plan_of(database, name)
    read = {node["Relation Name"] for node in nodes if "Relation Name" in node and node["Node Type"] != "ModifyTable"}
    assert read <= {"task_queue", "everpost_meta", "batches"}  # which have no partitions


async def test_texts_that_are_too_long_for_an_index_are_kept_shortened(store: Store) -> None:
    """A job of a stock arq client can have any text there; its end was refused as if the database were unusable."""
    long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(20_000))  # cannot be compressed much
    stray = record_of("stray", columns=TaskColumns(platform=long, account_id=long, title=long), task_data=b"{}")
    await store.ledger.end([stray])
    await accept(store, make_task("waiting", platform=long, account_id=long, batch_id=long, retry_of=long))
    for wanted in (TaskFilter(account_id=long), TaskFilter(platform=(long,)), TaskFilter(platform=(long[:100],))):
        assert set(ids((await store.history.page(wanted)).items)) == {"stray", "waiting"}
    await store.ledger.end([record_of("waiting", columns=TaskColumns(platform=long, account_id=long))])
    for wanted in (TaskFilter(batch_id=long), TaskFilter(retry_of=long)):
        assert ids((await store.history.page(wanted)).items) == ["waiting"]


async def test_an_intent_that_was_not_confirmed_is_found_by_its_repetition(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the task would end as unknown, although nothing was sent."""
    await accept(store, "a")
    database = store.ledger._database  # type: ignore[attr-defined]  # of this store
    write_rows = database.write_rows

    async def lose_answer(*given: Any, **options: Any) -> None:
        await write_rows(*given, **options)
        raise WriteUnconfirmed("no standby")

    with monkeypatch.context() as patch:
        patch.setattr(database, "write_rows", lose_answer)
        with pytest.raises(WriteUnconfirmed):
            await store.ledger.begin_send("a", 1, START_MS)
    assert not await store.ledger.begin_send("a", 1, START_MS + 1)
    assert await store.ledger.begin_send("a", 1, START_MS)
    assert not await store.ledger.begin_send("a", 1, START_MS)
