"""No statement reads a large table row by row: SQLite's plan for each says which index it follows."""

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from everpost.store.history import TaskFilter
from everpost.store.lists.cursor import BEGINNING, UNDATED, Key
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.filters import compose
from everpost.store.sqlite.lists.search import Hits
from everpost.store.sqlite.queries import FOLDER, load, statements
from everpost.task.place import Place
from store_rows import ACCOUNTS_ALONE, EVERY_FILTER, leads_of

SCAN = re.compile(r"^SCAN (?P<what>\S+)( (?P<index>USING .*))?")
SMALL = re.compile(r"(task_counts|json_each|given|wanted|value|CONSTANT|ids|counted|grouped|g|seen|\(.*)$")
"""Not worth an index, or no table: (subquery-1), a JSON array, SELECT without FROM; `given` and `wanted` are a
parameter's rows, and the names after CONSTANT are of parts of the same statement, which have a limit."""

READ_WHOLE = {
    "count_rows": "a worker's hourly count of everything, for which no client waits",
    "count_held": "the ledger, while dispatch is paused after a restore",
    "find_sends": "a restore's look at the ledger",
    "hold_unfinished": "a restore's change of the ledger",
    "pause_recurring": "a restore's change of all active recurring posts",
    "abandon_operations": "the index of bulk work under way, which is all there is of it",
    "claim_operation": "the same",
    "release_operations": "the same",
    "nth_newest_operation": "goes from the newest to the bound of what is kept, and no further",
    "nth_newest_skip": "the same",
    "find_limits": "what people set for platforms and accounts, after it was changed",
    "has_inherited_files": "begins in the index of inherited files, and stops at the first",
    "count_uploads": "the uploads that are not complete, for a quota",
    "ended_uses": "the files that unfinished tasks name; the others are removed by it",
    "find_roots": "the registered folders",
    "find_standings": "all accounts, after one of them has changed",
    "find_keys": "all API keys, after one of them has changed",
    "add_key": "the same, when one is made",
    "remove_expired_sessions": "the sessions of the console, when one begins",
    "remove_sessions_of_key": "the same, when a key is revoked",
    "count_unfinished": "counts the ledger by its index of accepted rows; asked before clear/all only",
    "count_published_twice": "the doctor's; one row for each decision a person took",
    "find_in_two_tables": "the doctor's check of I1 compares all ids, index against index",
    "find_oldest_due": "the doctor's; follows the ledger's order and stops at the first that is due",
}
COLUMNS = {Place.LEDGER: "task_id, status", Place.HISTORY: "job_id, status"}
STATUSES = ["failed", "success", None]


class AnyParameter(dict[str, Any]):
    """A value for whatever a statement asks for."""

    def __missing__(self, name: str) -> Any:
        return "[]" if name in {"rows", "ended", "task_ids", "hits"} else 1


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def plan_of(database: Database, statement: str, parameters: dict[str, Any] | None = None) -> list[str]:
    def explain(connection: sqlite3.Connection) -> list[str]:
        connection.create_function("everpost_utc", 1, str)
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters or AnyParameter())
        return [row[3] for row in rows]

    return await database.write(explain)  # the connection that has the view `ending`


def whole_reads(plan: list[str]) -> list[str]:
    """The steps that go through the whole of a large table or of an index, other than from a search's bounds."""
    found = (SCAN.match(step) for step in plan)
    return [step[0] for step in found if step and not SMALL.match(step["what"]) and "VIRTUAL TABLE" not in step.string]


@pytest.mark.parametrize("name", sorted(statements().keys() - {"ending", "calling_back"}))
async def test_a_statement_reads_no_large_table_whole(database: Database, name: str) -> None:
    plan = await plan_of(database, load(name))
    assert bool(whole_reads(plan)) == (name in READ_WHOLE), plan


async def test_the_move_of_an_ended_task_reads_no_large_table_whole(database: Database) -> None:
    _, _, steps = load("ending").partition("INSTEAD OF INSERT ON ending BEGIN")
    insert, _, delete = steps.replace("NEW.", ":").split(";")[:3]
    for step in (insert, delete):
        plan = await plan_of(database, step)
        assert plan
        assert not whole_reads(plan), plan


@pytest.mark.parametrize("body", re.findall(r" BEGIN\n(.*?)\nEND;", load("calling_back"), re.DOTALL))
async def test_a_callback_reads_no_large_table_whole(database: Database, body: str) -> None:
    for step in re.sub(r"\b(?:NEW|OLD)\.", ":", body).strip().removesuffix(";").split(";\n"):
        plan = await plan_of(database, step)
        # The one row of the counts, and the tasks of the batch, which an index finds.
        assert set(whole_reads(plan)) <= {"SCAN outcome", "SCAN first"}, (step, plan)
        assert "UNION" not in step or any("publish_tasks_batch (batch_id=?)" in line for line in plan), plan


def filters() -> Iterator[TaskFilter]:
    """Every combination of up to three fields, and all at once."""
    for size in (0, 1, 2, 3, len(EVERY_FILTER)):
        for names in itertools.combinations(EVERY_FILTER, size):
            wanted = TaskFilter(**{name: EVERY_FILTER[name] for name in names})
            yield wanted
            if wanted.status:
                yield TaskFilter(**{name: EVERY_FILTER[name] for name in names} | {"status": "pending"})
            if wanted.reach:
                yield TaskFilter(**{name: EVERY_FILTER[name] for name in names} | {"reach": ACCOUNTS_ALONE})


async def test_every_list_follows_an_index_wherever_it_begins(database: Database) -> None:
    starts = (BEGINNING, Key("2026-01-01T00:00:00.000Z", "x"), UNDATED)
    for wanted, start, few in itertools.product(filters(), starts, (True, False)):
        hits = None if wanted.q is None else Hits((1, 2) if few else None, (3,), (4,))
        for rarer in leads_of(wanted):
            search = compose(wanted, COLUMNS, start, zone=UTC, hits=hits, rarer=rarer, statuses=STATUSES)
            plan = await plan_of(database, search.sql, search.parameters | {"limit": 10, "query": "x"})
            assert not whole_reads(plan), (wanted, plan)


async def test_the_accounts_of_a_scope_are_found_without_the_other_tasks_of_their_platform(database: Database) -> None:
    wanted = TaskFilter(platform=("douyin", "3", "bilibili"), reach=ACCOUNTS_ALONE, place=Place.HISTORY)
    search = compose(wanted, COLUMNS, BEGINNING, zone=None, hits=None, rarer="reach", statuses=STATUSES)
    plan = await plan_of(database, search.sql, search.parameters | {"limit": 10})
    step = "SEARCH publish_tasks USING COVERING INDEX publish_tasks_account (account_id=? AND status=? AND (created_at,"
    assert [line.startswith(step) for line in plan if "publish_tasks" in line] == [True] * 2 * len(STATUSES), plan


async def test_the_failures_of_an_account_are_found_without_its_successes(database: Database) -> None:
    wanted = TaskFilter(account_id="a", error_class="auth", place=Place.HISTORY)
    search = compose(wanted, COLUMNS, BEGINNING, zone=None, hits=None, rarer="account_id", statuses=STATUSES)
    plan = await plan_of(database, search.sql, search.parameters | {"limit": 10})
    assert sum("publish_tasks_account (account_id=? AND status=?" in line for line in plan) == len(STATUSES) - 1, plan
    assert "success" not in [value for name, value in search.parameters.items() if name.startswith("status")]


@pytest.mark.parametrize("status", ["failed", None])
@pytest.mark.parametrize(("field", "index"), [("platform", "platform"), ("account_id", "account")])
async def test_a_page_is_found_by_its_key_not_by_counting_up_to_it(
    database: Database, status: str | None, field: str, index: str
) -> None:
    """And the few tasks of a status among all of a platform or account are not looked for among the others."""
    wanted = TaskFilter(**{"status": status, field: EVERY_FILTER[field]})
    start = Key("2026-01-01T00:00:00.000Z", "x")
    search = compose(wanted, COLUMNS, start, zone=None, hits=None, rarer=field, statuses=STATUSES)
    plan = await plan_of(database, search.sql, search.parameters | {"limit": 10})
    keyed = f"({field}=? AND status=? AND (created_at,job_id)<(?,?))"
    spellings = len(EVERY_FILTER[field]) if field == "platform" else 1
    searches = spellings * (1 if status else len(STATUSES))
    step = f"SEARCH publish_tasks USING COVERING INDEX publish_tasks_{index} {keyed}"
    assert plan.count(step) == searches, plan


async def test_local_times_are_found_by_the_index_of_the_few_rows_that_have_them(database: Database) -> None:
    plan = await plan_of(database, load("has_local_times"))
    for table in ("publish_tasks", "task_queue"):
        step = f"SEARCH {table} USING COVERING INDEX {table}_local (created_at>? AND created_at<?)"
        assert plan.count(step) == 2, plan


async def test_an_account_s_tasks_of_a_platform_are_counted_without_their_rows(database: Database) -> None:
    wanted = TaskFilter(status="failed", platform=("douyin", "3"), account_id="a", place=Place.HISTORY)
    search = compose(wanted, None, BEGINNING, zone=None, hits=None, rarer="account_id", statuses=STATUSES)
    plan = await plan_of(database, f"SELECT count(*) FROM ({search.sql})", search.parameters | {"limit": 10})
    assert any(step.startswith("SEARCH publish_tasks USING COVERING INDEX publish_tasks_account") for step in plan), (
        plan
    )
    assert not any("ORDER BY" in step for step in plan), plan


async def test_the_failures_of_a_cause_in_some_days_are_counted_from_their_index_alone(database: Database) -> None:
    wanted = TaskFilter(
        cause="80ffc6947ceb", status="failed", created_after_ms=1, created_before_ms=2, place=Place.HISTORY
    )
    search = compose(wanted, None, BEGINNING, zone=None, hits=None, rarer="status", statuses=STATUSES)
    plan = await plan_of(database, f"SELECT count(*) FROM ({search.sql})", search.parameters | {"limit": 10})
    (step,) = [line for line in plan if line.startswith("SEARCH")]
    assert step.startswith("SEARCH failures USING COVERING INDEX failures_cause (cause=? AND created_at>?"), plan


@pytest.mark.parametrize("name", ["abandon_operations", "claim_operation", "release_operations"])
async def test_running_bulk_work_is_found_without_reading_ended_work(database: Database, name: str) -> None:
    plan = await plan_of(database, load(name))
    assert whole_reads(plan) == ["SCAN operations USING INDEX operations_running"]


def test_each_statement_has_a_name_of_its_own() -> None:
    """A second one in another folder would take its place."""
    names = [path.stem for path in FOLDER.rglob("*.sql")]
    assert len(names) == len(set(names))
