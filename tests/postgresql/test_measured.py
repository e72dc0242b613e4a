"""A PostgreSQL database of the bench and the demonstration: filled, counted, shown, and removed again."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from everpost.bench.metrics import METRIC_OF
from everpost.bench.plan import Plan
from everpost.bench.run import run_bench
from everpost.demo import main as demo
from everpost.errors import SettingsError
from everpost.store import measured_store, open_store, scratch_store, shown_store
from everpost.store.measured import Recorded
from everpost.store.operations import OperationStatus
from everpost.store.shown import ORIGINAL_TASK
from everpost.task.model import TaskStatus
from postgresql_server import shared_server
from store_contract.making import add_ended, attempt_of
from store_contract.test_operations import operation_of
from store_rows import START_MS, accept, begin, make_task

TINY = Plan(runs=1, warm_ups=0, connections=8, tasks=100, backlog=50, pairs=2, pair_tasks=100, settle_s=0)


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty database with Everpost's tables."""
    address = shared_server().new_database()
    yield address
    shared_server().drop(address)


def test_a_history_made_by_sql_is_in_partitions_and_counted_as_its_own(address: str) -> None:
    store = measured_store(address)
    assert (store.name, store.version.split(".")[0].isdigit()) == ("postgresql", True)
    store.fill_history(1_000, lambda _: None)
    with store.look() as look:
        assert (look.count_ended("bench", "success"), look.count_ended("bench-refusing", "failed")) == (900, 100)
    sql = "SELECT DISTINCT tableoid::regclass::text FROM publish_tasks"
    database = address.rpartition("/")[2]
    assert shared_server().server.sql(sql, database) == [("publish_tasks_2025_01",)]
    sql = "SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid = '{}'::regclass"
    whole, month = (
        shared_server().server.sql(sql.format(table), database) for table in ("publish_tasks", "publish_tasks_2025_01")
    )
    assert month == whole == [(12, True)]  # each month has the indexes of the whole history


async def test_a_store_is_looked_into_while_it_works(address: str) -> None:
    store = await open_store(address)
    measured = measured_store(address)
    waiting = measured.fill_ledger(5, b'{"platform":"bench"}', 5)
    await add_ended(store, "ended", platform="bench", status=TaskStatus.SUCCESS)
    await accept(store, make_task("again", retry_of="ended", batch_id="B"))
    await begin(store, operation_of("bulk"))
    failed = measured.add_failed(3, b'{"platform":"bench","title":"t"}', START_MS)
    with measured.look() as look:
        assert (look.count_queued([*waiting, "ended"]), look.count_waiting("bench")) == (5, 5)
        assert look.recorded(["ended", *waiting], "success") == Recorded(1, 1, 1)
        assert look.recorded(failed, "failed") == Recorded(3, 3, 3)
        assert (look.is_recorded("ended"), look.is_recorded("again")) == (True, False)
        attempt = attempt_of()
        assert look.first_attempts(["ended"]) == [(attempt.started_at, attempt.finished_at)]
        assert look.retries_of("B") == (1, 1)
        assert (look.has_relayed(), look.is_done("bulk")) == (False, False)
        await store.meta.set("epoch", "a Redis")
        found = await store.operations.find("bulk")
        assert found is not None
        assert found[0].status is OperationStatus.RUNNING
        assert look.has_relayed()
        measured.leave_nothing_to_do()
        assert (look.count_queued(waiting), look.count_ended("bench", "success")) == (0, 1)
    await store.close()


def test_a_database_of_its_own_is_made_on_the_server_and_removed(address: str) -> None:
    with scratch_store(address) as made:
        assert made != address
        shown = shown_store(made)
        shown.write_original()
        assert shown.row(ORIGINAL_TASK)["title"] == "旧任务"
        assert [rows.rows for rows in shown.ask()] == [
            [[ORIGINAL_TASK, "1", "failed", 5, None, "旧任务", None]], [["1", "failed", 1]]
        ]  # fmt: skip
        assert shown.find_faults() == []
    name = made.rpartition("/")[2]
    assert shared_server().server.sql(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == [(0,)]
    with pytest.raises(SettingsError):
        scratch_store("everpost.db")


@pytest.mark.chaos
async def test_the_bench_measures_on_a_server_and_tells_its_cpu(address: str, tmp_path: Path) -> None:
    report = await run_bench(TINY, tmp_path, lambda _: None, only=["end", "backlog"], server=address)
    assert report.tasks_checked >= 200
    assert report.metrics["cpu_database"].summary.median > 0
    assert report.versions["postgresql"]


@pytest.mark.chaos
async def test_two_stacks_are_measured_in_turns_and_a_fleet_of_four(address: str, tmp_path: Path) -> None:
    report = await run_bench(
        TINY, tmp_path, lambda _: None, only=["beside", "scale", "grown"], growth=1_000, server=address
    )
    seen = {name: row.summary for name, row in report.metrics.items()}
    assert set(seen) == {name for name, metric in METRIC_OF.items() if metric.group in {"beside", "scale"}}
    ratios = [ours / base for ours, base in zip(seen["beside_server"].runs, seen["beside_sqlite"].runs, strict=True)]
    assert seen["beside"].runs == pytest.approx(ratios)
    assert seen["scale_four_wal"].median > 0.5  # KB: a task's own data is not less
    assert 1 <= seen["scale_one_group"].median <= 3 * TINY.pair_tasks
    assert report.growth is not None
    assert set(report.growth.metrics) == {"grown", "grown_large", "grown_empty"}
    assert len(report.growth.metrics["grown"].runs) == TINY.pairs
    warm_up = 10
    assert report.tasks_checked == 4 * (warm_up + 200) + 5 * (warm_up + 100) + 4 * (warm_up + 100) + 4 * 100


def test_the_server_counts_flushes_transactions_and_waits_for_locks(address: str) -> None:
    database = address.rpartition("/")[2]
    with measured_store(address).look() as look:
        before = look.counters()
        with psycopg.connect(address) as first, psycopg.connect(address, autocommit=True) as second:
            first.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
            assert look.count_lock_waits() == 0
            waiting = threading.Thread(target=second.execute, args=("TABLE task_queue",))
            waiting.start()
            deadline = time.monotonic() + 20
            while look.count_lock_waits() != 1:
                assert time.monotonic() < deadline
            first.rollback()
            waiting.join()
        shared_server().server.sql("INSERT INTO everpost_meta (key, value) VALUES ('a', 'b')", database)
        after = look.counters()
    assert before is not None
    assert after is not None
    assert after.writes > before.writes
    assert after.wal_bytes > before.wal_bytes
    assert after.fsyncs >= before.fsyncs


@pytest.mark.chaos
def test_every_step_of_the_demonstration_holds_on_a_server(address: str) -> None:
    assert demo(server=address) == 0
