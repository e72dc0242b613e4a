"""Retrying many tasks at once has the same effect as retrying them one after the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everpost.store.changes import Outcome, Retry
from everpost.store.sqlite.file.connection import prepare_moves
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.migrate import migrate
from everpost.store.sqlite.tables import TABLES
from everpost.store.sqlite.tasks.retry import retry_tasks
from everpost.task.model import HELD
from everpost.task.place import Place, Position
from everpost.task.retry_rules import RetryDecision, decide_retry
from store_rows import START_MS, make_task, retry_as

CHAINS = {"a": None, "a1": "a", "a2": "a", "b": None, "b1": "b", "c": None}
"""Tasks, and the first task of the retry chain each is in."""

Row = tuple[Place, dict[str, Any]]
CONTENTS = (
    "SELECT task_id, status, retry_of, root_id, generation, batch_id, data, accepted_by FROM task_queue",
    "SELECT job_id, status, root_id, generation, error_message, task_data FROM publish_tasks",
    "SELECT job_id, status, root_id, generation FROM publish_tasks_archive",
    "SELECT task_id, decision, status_before, new_task_id FROM decisions",
    "SELECT * FROM task_counts WHERE tasks <> 0",
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    task_id = draw(st.sampled_from(sorted(CHAINS)))
    place = draw(st.sampled_from(Place))
    status = draw(st.sampled_from(["pending", "retry", "running", "success", "failed", "unknown", None]))
    row = {"status": status, "root_id": CHAINS[task_id], "generation": draw(st.integers(0, 3))}
    if place is not Place.LEDGER:
        return place, row | {"job_id": task_id, "task_data": "{}"}
    sending = draw(st.sampled_from([None, None, 1, HELD]))
    accepted_by = draw(st.sampled_from(["us", "us", None]))
    return place, row | {
        "task_id": task_id, "task_type": "publish", "data": "{}", "sending": sending, "accepted_by": accepted_by
    }  # fmt: skip


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """An empty database, to copy."""
    path: Path = tmp_path_factory.mktemp("schema") / "everpost.db"
    migrate(path)
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield connection


def lawful(given_rows: Sequence[Row]) -> list[Row]:
    """Without the rows that break I1: a task that was accepted and waits lies nowhere else."""
    accepted = {row["task_id"] for place, row in given_rows if row.get("accepted_by")}
    return [(place, row) for place, row in given_rows if row.get("accepted_by") or id_of(row) not in accepted]


def id_of(row: dict[str, Any]) -> Any:
    return row.get("task_id") or row["job_id"]


def filled(schema: sqlite3.Connection, given_rows: Sequence[Row]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.backup(connection)
    prepare_moves(connection)
    for place, row in given_rows:
        marks = ", ".join("?" * len(row))
        connection.execute(
            f"INSERT OR IGNORE INTO {TABLES[place]} ({', '.join(row)}) VALUES ({marks})", list(row.values())
        )
    return connection


def contents(connection: sqlite3.Connection) -> list[list[Any]]:
    return [sorted(connection.execute(statement), key=repr) for statement in CONTENTS]


def retry_of(task_ids: Sequence[str], decide: Callable[[Position, Sequence[Position]], RetryDecision]) -> Retry:
    new_tasks = {task_id: make_task(f"new {task_id}", batch_id="batch") for task_id in task_ids}
    return msgspec.structs.replace(retry_as(new_tasks, decide), task_ids=task_ids)


def comparable(outcomes: Sequence[Outcome]) -> list[Any]:
    return [(outcome.task_id, outcome.reason, outcome.other_task_id, outcome.new_task) for outcome in outcomes]


@settings(deadline=None)
@given(
    given_rows=st.lists(rows(), max_size=8).map(lawful),
    asked=st.lists(st.sampled_from([*CHAINS, "nobody"]), max_size=8),
    withdrawn=st.sets(st.sampled_from(sorted(CHAINS))),
    force=st.booleans(),
)
def test_a_chunk_of_retries_is_decided_and_written_as_one_after_the_other(
    schema: sqlite3.Connection, given_rows: Sequence[Row], asked: Sequence[str], withdrawn: set[str], force: bool
) -> None:
    def decide(task: Position, relatives: Sequence[Position]) -> RetryDecision:
        return decide_retry(task, relatives, force=force, withdrawn=task.task_id in withdrawn)

    with closing(filled(schema, given_rows)) as together, closing(filled(schema, given_rows)) as singly:
        outcomes = retry_tasks(together, retry_of(asked, decide), START_MS)
        one_by_one = [one for task_id in asked for one in retry_tasks(singly, retry_of([task_id], decide), START_MS)]
        assert comparable(outcomes) == comparable(one_by_one)
        assert contents(together) == contents(singly)


def test_a_chunk_takes_the_same_few_statements_however_many_tasks_it_has(schema: sqlite3.Connection) -> None:
    tasks = [f"t{number}" for number in range(100)]
    failed: list[Row] = [(Place.HISTORY, {"job_id": task, "status": "failed", "task_data": "{}"}) for task in tasks]
    with closing(filled(schema, failed)) as connection:
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        outcomes = retry_tasks(connection, retry_of(tasks, decide_retry), START_MS)
        connection.set_trace_callback(None)
    assert all(outcome.new_task is not None for outcome in outcomes)
    assert len(set(statements)) == 3  # it is told of one again for each trigger that fires
