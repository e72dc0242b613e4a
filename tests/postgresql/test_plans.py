"""No statement reads a large table row by row: PostgreSQL's plan for each says which index it follows."""

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import psycopg
import pytest

from everpost.store.history import TaskFilter
from everpost.store.postgresql.link.statements import Sql, statement
from everpost.store.postgresql.lists.filters import Search
from everpost.store.postgresql.lists.local_times import Bound, TimeBounds
from everpost.store.postgresql.lists.search import Hits
from everpost.store.postgresql.queries import statements
from everpost.task.place import Place
from postgresql.kit import PostgresqlKit
from postgresql.rows import fill
from postgresql_server import shared_server
from store_rows import ACCOUNTS_ALONE, EVERY_FILTER, leads_of

ROWS = 20_000
PARAMETER = re.compile(r"\$[0-9]+")
OF_CATALOG = {"count_fsyncs", "indexes_of_history"}  # of PostgreSQL's own tables, which not every version has
LARGE_ROWS = 1_000
IN_SEARCH = {
    "find_hits", "find_local_times", "next_unsearched", "rows_of_history", "rows_of_ledger", "scan_unsearched",
    "scan_waiting",
}  # fmt: skip
"""The statements that run after `begin_search`."""

READ_WHOLE = {
    "purge_lost_batches": "a purge's look at all batches",
    "count_rows": "a worker's hourly count of everything, for which no client waits",
    "count_unfinished": "counts the ledger; asked before clear/all only",
    "has_searched": "it reads the first row there is, once in a process",
    "find_sends": "a restore's look at the ledger",
    "find_newest": "a restore's look at the ledger",
    "hold_unfinished": "a restore's change of the ledger",
    "count_held": "the ledger, while dispatch is paused after a restore",
    "count_archived": "counts most of the archive; asked before a purge only",
    "count_published_twice": "the doctor's; one row for each decision a person took",
    "find_in_two_tables": "the doctor's check of I1 compares all ids",
    "find_oldest_due": "the doctor's; follows the ledger's order and stops at the first that is due",
    "nth_newest_operation": "goes from the newest to the bound of what is kept, and no further",
    "nth_newest_skip": "the same",
    "next_unsearched": "begins at the oldest entry, and stops at a limit",
    "scan_unsearched": "begins at the newest entry, and stops at a limit",
    "scan_waiting": "begins at the newest task, and stops at a limit",
}
READ_WHOLE |= dict.fromkeys(
    ("single_tasks", "kinds_of_tasks", "in_two_tables"), "the demonstration's, on its few tasks"
)
READ_WHOLE |= dict.fromkeys(("empty_ledger", "empty_unsearched", "ledger_ids"), "the bench's, between measurements")
BOUND = Bound("2026-01-01T00:00:00.000Z", "2025-12-31 00:00", "2026-01-02 00:00", None)


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    """A database with many rows. Each plan is made in a transaction of its own."""
    address = shared_server().new_database()
    fill(PostgresqlKit(address), ROWS)
    with psycopg.connect(address) as connection:
        yield connection
    shared_server().drop(address)


def plan_of(connection: psycopg.Connection, text: str, *, as_search: bool = False) -> list[dict[str, Any]]:
    """The nodes of a statement's plan for any parameters, as the outermost has them first."""
    with connection.transaction(force_rollback=True):
        if as_search:
            connection.execute(statements()["begin_search"].replace(":timeout_ms::bigint", "60000").encode())
        connection.execute("DEALLOCATE ALL")
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")  # EXPLAIN (GENERIC_PLAN) came with 16
        connection.execute(f"PREPARE planned AS {text}".encode())
        given = ", ".join(["NULL"] * len(set(PARAMETER.findall(text))))
        execute = f"EXECUTE planned({given})" if given else "EXECUTE planned"
        (row,) = connection.execute(f"EXPLAIN (FORMAT JSON) {execute}".encode()).fetchall()
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return list(_nodes(found[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from _nodes(part)


@cache
def large_tables(connection: psycopg.Connection) -> frozenset[str]:
    """The names of large tables and partitions. An empty one is best read whole."""
    rows = connection.execute("SELECT relname FROM pg_class WHERE reltuples > %s", [LARGE_ROWS]).fetchall()
    connection.rollback()
    return frozenset(name for (name,) in rows)


def whole_reads(connection: psycopg.Connection, plan: list[dict[str, Any]]) -> list[str]:
    """The large tables that are read whole, by themselves or by an index without a bound."""
    found = []
    large = large_tables(connection)
    for node in plan:
        relation = node.get("Relation Name", "")
        is_bound = "Index Cond" in node or node["Node Type"] in {"Bitmap Heap Scan", "Tid Scan", "ModifyTable"}
        is_bound = is_bound or node.get("Index Name") == "operations_running"  # which has all of them that it is for
        if relation in large and not is_bound:
            found.append(f"{node['Node Type']} of {relation}")
    return found


def explainable() -> list[str]:
    """The statements that EXPLAIN takes."""
    verbs = {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}
    return sorted(name for name, text in statements().items() if _verb(text) in verbs and name not in OF_CATALOG)


def _verb(text: str) -> str:
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("--"))
    return next(lines, "").split()[0].upper()


@pytest.mark.parametrize("name", explainable())
def test_a_statement_reads_no_large_table_whole(connection: psycopg.Connection, name: str) -> None:
    plan = plan_of(connection, statement(name).text, as_search=name in IN_SEARCH)
    assert bool(whole_reads(connection, plan)) == (name in READ_WHOLE), whole_reads(connection, plan)


def filters() -> Iterator[TaskFilter]:
    """Every combination of up to two fields, and all at once."""
    for size in (0, 1, 2, len(EVERY_FILTER)):
        for names in itertools.combinations(EVERY_FILTER, size):
            yield TaskFilter(**{name: EVERY_FILTER[name] for name in names})
            if "reach" in names:
                yield TaskFilter(**{name: EVERY_FILTER[name] for name in names} | {"reach": ACCOUNTS_ALONE})
            if "status" in names:
                for status in ("pending", "scheduled", "running"):
                    yield TaskFilter(**{name: EVERY_FILTER[name] for name in names} | {"status": status})


def search_of(wanted: TaskFilter, rarer: str, *, few: bool = True) -> Search:
    bounds = TimeBounds(
        BOUND if wanted.created_after_ms is not None else None, BOUND if wanted.created_before_ms is not None else None
    )
    hits = None if wanted.q is None else Hits("'x'", (), ("1", "2") if few else None, ("3",), ("4",))
    return Search(wanted, bounds, hits, rarer, 100)


def test_every_list_follows_an_index_wherever_it_begins(connection: psycopg.Connection) -> None:
    seen: set[Sql] = set()
    for wanted, dated, few in itertools.product(filters(), (True, False), (True, False)):
        for rarer in leads_of(wanted):
            sql = search_of(wanted, rarer, few=few).keys(dated=dated)
            if sql in seen:
                continue
            seen.add(sql)
            plan = plan_of(connection, statement(sql).text, as_search=True)
            assert not [one for one in whole_reads(connection, plan) if not _is_oldest(one, sql)], (
                wanted,
                whole_reads(connection, plan),
            )
    assert len(seen) > len(EVERY_FILTER)


def _is_oldest(read: str, sql: Sql) -> bool:
    """Whether this is the walk that stops at a known number of tasks."""
    return read == "Index Scan of task_queue" and ":of_status" in sql


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ({}, "created_at_job_id_status"),
        ({"status": "success"}, "created_at_job_id_status"),
        ({"status": "failed"}, "status_created_at_job_id"),
        ({"error_class": "auth", "status": "failed"}, "error_class_created_at_job_id"),
        ({"batch_id": "b", "account_id": "a"}, "batch_id_created_at_job_id"),
        ({"retry_of": "r"}, "retry_of_created_at_job_id"),
        ({"platform": ("douyin", "3")}, "platform_created_at_job_id_status"),
        ({"platform": ("douyin", "3"), "status": "failed"}, "platform_created_at_job_id_status"),
        ({"account_id": "a", "status": "failed"}, "account_id_created_at_job_id_status"),
        ({"platform": ("douyin", "3"), "reach": ACCOUNTS_ALONE}, "account_id_created_at_job_id_status"),
    ],
)
def test_a_page_begins_at_its_key_in_one_index_of_each_partition(
    connection: psycopg.Connection, fields: dict[str, Any], index: str
) -> None:
    """Nothing is sorted within a partition, so a page costs the same wherever it is in a list."""
    wanted = TaskFilter(**fields, place=Place.HISTORY)
    rarer = next((name for name in ("reach", "error_class", "platform", "account_id", "status") if name in fields), "")
    plan = plan_of(connection, statement(search_of(wanted, rarer).keys(dated=True)).text, as_search=True)
    scans = [node for node in plan if node.get("Relation Name", "").startswith("publish_tasks")]
    assert len(scans) > 4
    for scan in scans:
        assert scan["Index Name"].removeprefix(scan["Relation Name"]).startswith(f"_{index}"), scan["Index Name"]
        assert "ROW(created_at, job_id) < ROW" in scan["Index Cond"]
    assert [node["Node Type"] for node in plan].count("Merge Append") >= 1
    nodes = [node["Node Type"] for node in plan]
    assert "Sort" not in nodes[nodes.index("Merge Append") + 1 :]


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ({"platform": ("nowhere",), "error_class": "auth"}, "_platform_"),
        ({"status": "lost", "error_class": "auth"}, "_status_"),
        ({"account_id": "nobody", "status": "success"}, "_account_id_"),
    ],
)
def test_a_count_reads_what_is_rare_of_several_fields(
    connection: psycopg.Connection, fields: dict[str, Any], index: str
) -> None:
    search = search_of(TaskFilter(**fields, place=Place.HISTORY), "")
    assert search.is_counted_by_values()
    text, values = statement(search.counting()).text, search.parameters() | {"limit": 10_000}
    given = [values[name] for name in statement(search.counting()).parameters]
    with connection.transaction(force_rollback=True), psycopg.ClientCursor(connection) as cursor:
        connection.execute(statements()["begin_search"].replace(":timeout_ms::bigint", "60000").encode())
        connection.execute(statements()["plan_by_values"].encode())
        connection.execute("DEALLOCATE ALL")
        connection.execute(f"PREPARE planned AS {text}".encode())
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE planned({', '.join(['%s'] * len(given))})", given)
        (row,) = cursor.fetchall()
    nodes = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name", "") in large_tables(connection)]
    assert {index in node.get("Index Name", "") for node in nodes} == {True}, nodes
    assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes) == 0


def test_batches_and_causes_are_counted_by_a_plan_for_any_value() -> None:
    for wanted in (TaskFilter(batch_id="b", status="failed"), TaskFilter(cause="c", status="failed"), TaskFilter()):
        assert not search_of(wanted, "").is_counted_by_values()


def test_the_failures_of_a_cause_in_some_days_are_counted_without_the_history(connection: psycopg.Connection) -> None:
    wanted = TaskFilter(cause="c", status="failed", created_after_ms=1, created_before_ms=2, place=Place.HISTORY)
    plan = plan_of(connection, statement(search_of(wanted, "status").counting()).text, as_search=True)
    assert {node["Relation Name"] for node in plan if "Relation Name" in node} == {"failures"}


@pytest.mark.parametrize("fields", [{"q": "x"}, {"task_ids": ("a",)}, {"q": "x", "status": "failed", "task_ids": ()}])
def test_tasks_with_known_ids_are_looked_up(connection: psycopg.Connection, fields: dict[str, Any]) -> None:
    """PostgreSQL walked along the order of the list instead, through all tasks, and looked for the ids there."""
    plan = plan_of(connection, statement(search_of(TaskFilter(**fields), "").keys(dated=True)).text, as_search=True)
    for node in plan:
        if node.get("Relation Name", "") in large_tables(connection):
            assert "_id = (given" in node["Index Cond"], node["Index Cond"]


@pytest.mark.parametrize(
    "fields",
    [
        {"account_id": "a"},
        {"platform": ("douyin",), "account_id": "a"},
        {"batch_id": "b"},
        {"platform": ("douyin",), "reach": ACCOUNTS_ALONE},
    ],
)
def test_tasks_are_counted_along_an_index(connection: psycopg.Connection, fields: dict[str, Any]) -> None:
    wanted = TaskFilter(**fields, place=Place.HISTORY)
    plan = plan_of(connection, statement(search_of(wanted, "account_id").counting()).text, as_search=True)
    assert not whole_reads(connection, plan)


@pytest.mark.parametrize("name", ["find_task_history", "rows_of_history", "lock_ended_publish_tasks"])
def test_a_task_is_looked_up_in_the_one_partition_that_can_have_it(connection: psycopg.Connection, name: str) -> None:
    """The plan has all partitions; those that cannot have the id are removed when the id is known."""
    with connection.transaction(force_rollback=True):
        connection.execute("PREPARE one AS " + statement(name).text)
        connection.execute("SET LOCAL enable_hashjoin = off")
        connection.execute("SET LOCAL enable_mergejoin = off")
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        given = "ARRAY['019a0000000070000000000000000001']" if ":task_ids" in statements()[name] else "'019a'"
        (row,) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE one ({given})").fetchall()
        connection.execute("DEALLOCATE one")
    scans = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name", "").startswith("publish_tasks")]
    assert sum(node["Actual Loops"] > 0 for node in scans) == 1
