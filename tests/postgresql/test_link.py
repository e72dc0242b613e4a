"""The link to PostgreSQL while all is well: reads, transactions and grouped writes."""

import asyncio
from unittest.mock import Mock

import psycopg
import pytest

from everpost.database_address import postgresql_address
from everpost.errors import DatabaseBusy, DatabaseUnwritable, SearchTimeout, ServiceError, TaskNotFound
from everpost.store.postgresql.link import commits, transactions, waiting
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.faults import StatementRefused
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.statements import Sql
from everpost.testing import eventually
from postgresql.link_kit import ALL, STATEMENTS, WRITE, add, row, stored, write
from postgresql_server import shared_server


async def test_rows_that_are_written_a_moment_apart_go_out_in_one_statement(database: Database) -> None:
    async def write_next(task_id: str) -> None:
        await asyncio.sleep(0)  # the next turn of the event loop
        await write(database, task_id)

    await asyncio.gather(write(database, "a"), write_next("b"))
    assert await stored(database) == ["a", "b"]
    assert await database.read(lambda connection: connection.fetch_value(STATEMENTS)) == 1


async def test_concurrent_rows_go_out_in_few_statements_and_each_caller_gets_its_own(database: Database) -> None:
    ids = [f"t{number:03}" for number in range(200)]
    answers = await asyncio.gather(*(write(database, task_id, f"{task_id}-b") for task_id in ids))
    for task_id, answer in zip(ids, answers, strict=True):
        assert {record["task_id"] for record in answer} == {task_id, f"{task_id}-b"}
    assert len(await stored(database)) == 400
    written = await database.read(lambda connection: connection.fetch_value(STATEMENTS))
    assert written <= commits.WRITERS


@pytest.mark.parametrize("gather", [True, False])
async def test_rows_gather_while_a_statement_is_written_unless_it_waits_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, gather: bool
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 60 if gather else 0.3)

    async def waits_for_lock() -> bool:
        return bool(await database.read(lambda connection: connection.fetch_value("count_lock_waits")))

    with psycopg.connect(database.address.at(database.address.hosts[0])) as holder:
        holder.execute("INSERT INTO link_rows VALUES ('a')")
        blocked = asyncio.create_task(write(database, "a"))
        await eventually(waits_for_lock, what="the statement that waits")
        others = [asyncio.create_task(write(database, f"b{number}")) for number in range(20)]
        await asyncio.wait(others, timeout=0.2 if gather else None)
        assert [task.done() for task in others] == [not gather] * 20
        holder.rollback()
    await asyncio.gather(blocked, *others)
    assert await database.read(lambda connection: connection.fetch_value(STATEMENTS)) == 2


@pytest.mark.parametrize("writers", [1, 2])
async def test_a_caller_that_is_answered_and_writes_again_at_once_is_answered_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, writers: int
) -> None:
    """The writer that answered it has nothing left to do, and is about to end."""
    monkeypatch.setattr(commits, "WRITERS", writers)

    async def write_on(name: str) -> None:
        for number in range(20):
            await write(database, f"{name}{number}")

    async with asyncio.timeout(60):
        await asyncio.gather(*(write_on(name) for name in "abcd"[:writers]))
    assert len(await stored(database)) == 20 * writers


async def test_a_statement_takes_no_more_rows_than_it_may(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_ROWS", 10)
    await asyncio.gather(*(write(database, f"t{number}", f"u{number}") for number in range(25)))
    assert await database.read(lambda connection: connection.fetch_value(STATEMENTS)) >= 5


async def test_every_caller_is_answered_when_there_is_no_memory_to_gather_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "_writable_together", Mock(side_effect=MemoryError))
        transaction = database.write(lambda connection: add(connection, "x"))
        async with asyncio.timeout(60):
            answers = await asyncio.gather(
                *(write(database, f"t{number}") for number in range(5)), transaction, return_exceptions=True
            )
    assert [type(answer) for answer in answers].count(MemoryError) >= 5
    await write(database, "after")
    assert "after" in await stored(database)


async def test_rows_of_one_task_come_one_after_the_other(database: Database) -> None:
    upsert = Sql("""
        INSERT INTO link_rows SELECT * FROM unnest(:rows::link_rows[])
        ON CONFLICT (task_id) DO UPDATE SET value = link_rows.value || excluded.value RETURNING task_id, value
    """)
    rows = [database.write_rows(upsert, [row("same", str(number))]) for number in range(6)]
    values: list[str] = [record["value"] for answer in await asyncio.gather(*rows) for record in answer]
    values.sort(key=len)
    assert [len(value) for value in values] == [1, 2, 3, 4, 5, 6]
    assert set(values[-1]) == set("012345")


async def test_a_refused_row_concerns_its_own_caller_only(database: Database) -> None:
    async def put(number: int) -> None:
        await database.write_rows(
            WRITE, [row(f"t{number}", "refused" if number % 10 == 7 else None), row(f"u{number}")]
        )

    answers = await asyncio.gather(*(put(number) for number in range(40)), return_exceptions=True)
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, StatementRefused)]
    assert refused == [7, 17, 27, 37]
    assert len(await stored(database)) == 72
    assert database.trouble is None


async def test_a_refusal_names_its_constraint(database: Database) -> None:
    await write(database, "a")
    with pytest.raises(StatementRefused) as refused:
        await database.write(lambda connection: add(connection, "a"))
    assert (refused.value.sqlstate, refused.value.constraint) == ("23505", "link_rows_pkey")
    with pytest.raises(StatementRefused) as wrong_type:
        await database.read(lambda connection: connection.fetch_value(Sql("SELECT :a::text"), a=1))
    assert wrong_type.value.sqlstate.startswith("22")


async def test_no_row_is_written_by_nothing(database: Database) -> None:
    assert await database.write_rows(WRITE, []) == []


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail(connection: Connection) -> None:
        await add(connection, "a")
        raise TaskNotFound("a")

    with pytest.raises(TaskNotFound):
        await database.write(fail)
    assert await stored(database) == []
    assert database.trouble is None


async def test_an_error_that_is_swallowed_in_a_transaction_is_no_success(database: Database) -> None:
    async def swallow(connection: Connection) -> None:
        await add(connection, "a")
        with pytest.raises(StatementRefused):
            await add(connection, "a")

    with pytest.raises((AssertionError, ServiceError)):
        await database.write(swallow)
    assert await stored(database) == []


async def test_a_wrong_parameter_is_an_error_of_the_caller(database: Database) -> None:
    with pytest.raises(TypeError, match="value"):
        await database.write(
            lambda connection: connection.run(Sql("DELETE FROM link_rows WHERE value = :value"), x="a")
        )


async def test_a_snapshot_sees_one_moment_and_a_read_sees_each(database: Database) -> None:
    async def look_twice(connection: Connection) -> list[int]:
        first = await connection.fetch_all(ALL)
        await database.write(lambda writer: add(writer, f"t{len(first)}"))
        return [len(first), len(await connection.fetch_all(ALL))]

    assert await database.snapshot(look_twice) == [0, 0]
    assert await database.read(look_twice) == [1, 2]


async def test_deadlocked_transactions_both_succeed(database: Database) -> None:
    await write(database, "a", "b")
    met = asyncio.Barrier(2)
    runs = 0

    async def change(connection: Connection, first: str, second: str) -> None:
        nonlocal runs
        runs += 1
        update = Sql("UPDATE link_rows SET value = value || 'x' WHERE task_id = :task_id")
        await connection.run(update, task_id=first)
        if runs <= 2:
            await met.wait()
        await connection.run(update, task_id=second)

    await database.write(lambda connection: connection.run(Sql("UPDATE link_rows SET value = ''")))
    await asyncio.gather(
        database.write(lambda connection: change(connection, "a", "b")),
        database.write(lambda connection: change(connection, "b", "a")),
    )
    assert runs == 3
    assert [each["value"] for each in await database.read(lambda connection: connection.fetch_all(ALL))] == ["xx", "xx"]


async def test_rows_that_others_keep_locked_make_the_database_busy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LOCK_WAIT_S", 0.05)
    await write(database, "a")
    with psycopg.connect(database.address.at(database.address.hosts[0])) as holder:
        holder.execute("SELECT FROM link_rows FOR UPDATE")
        with pytest.raises(DatabaseBusy):
            await database.write(lambda connection: connection.run(Sql("DELETE FROM link_rows")))
    assert await stored(database) == ["a"]
    assert isinstance(database.trouble, DatabaseBusy)
    await write(database, "b")
    assert database.trouble is None


async def test_a_transaction_that_cannot_begin_in_time_is_not_run(database: Database) -> None:
    free = asyncio.Event()

    async def hold(_connection: Connection) -> None:
        await free.wait()

    holders = [asyncio.create_task(database.write(hold)) for _ in range(commits.WRITERS)]
    late = asyncio.create_task(database.write(lambda connection: add(connection, "a"), within_s=0))
    patient = asyncio.create_task(database.write(lambda connection: add(connection, "b")))
    await asyncio.sleep(0)
    free.set()
    with pytest.raises(DatabaseBusy):
        await late
    await asyncio.gather(*holders, patient)
    assert await stored(database) == ["b"]


async def test_a_caller_that_gives_up_does_not_stop_the_others(database: Database) -> None:
    writes = [asyncio.create_task(write(database, f"t{number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in writes[::2]:
        task.cancel()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, list)] == [
        [{"task_id": f"t{number}"}] for number in range(1, 20, 2)
    ]
    assert {f"t{number}" for number in range(1, 20, 2)} <= set(await stored(database))


async def test_closing_writes_what_was_submitted_and_refuses_more(database: Database) -> None:
    writes = [asyncio.create_task(write(database, f"t{number}")) for number in range(50)]
    await asyncio.sleep(0)
    assert database.waiting
    await database.close()
    assert len(await asyncio.gather(*writes)) == 50
    with pytest.raises(DatabaseUnwritable, match="closed"):
        await write(database, "late")
    again = await Database.open(database.address)
    assert len(await stored(again)) == 50
    await again.close()


async def test_a_slow_search_is_stopped_in_the_server_too(database: Database) -> None:
    with pytest.raises(SearchTimeout):
        await database.search(lambda connection: connection.fetch_value(Sql("SELECT pg_sleep(60)")), within_s=0.05)
    running = Sql(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' AND datname = current_database()"
    )

    async def is_stopped() -> bool:
        return not await database.read(lambda connection: connection.fetch_value(running))

    await eventually(is_stopped, what="the search's end")
    assert await database.search(lambda connection: connection.fetch_value(Sql("SELECT 1"))) == 1


async def test_an_opening_that_is_cancelled_leaves_no_connection_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Session] = []
    is_connected = asyncio.Event()
    identify = Session._identify

    async def noted(session: Session) -> None:
        opened.append(session)
        is_connected.set()
        await identify(session)

    monkeypatch.setattr(Session, "_identify", noted)
    opening = asyncio.create_task(Database.open(database.address))
    await is_connected.wait()
    opening.cancel()
    assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError)

    async def are_closed() -> bool:
        return all(session.is_closed for session in opened)

    await eventually(are_closed, what="the end of all sessions")


async def test_a_server_that_would_forget_commits_is_refused(address: str) -> None:
    name = address.rpartition("/")[2]
    shared_server().server.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(ServiceError, match="synchronous_commit"):
        await Database.open(postgresql_address(address))


async def test_a_database_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(ServiceError, match=r'database "nothing_here" does not exist.*EVERPOST_DATABASE'):
        await Database.open(postgresql_address(address.rpartition("/")[0] + "/nothing_here"))
