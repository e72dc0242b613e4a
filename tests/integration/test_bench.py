"""`everpost bench` on a tiny plan: what it answers, and that it refuses to tell rates of work that was not done."""

import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import everpost.bench.backlog as backlog_module
import everpost.bench.stack as stack_module
import everpost.bench.throughput as throughput_module
from everpost.bench.checks import RecordFile, WorkIncomplete, check_queued, check_recorded
from everpost.bench.engine import JOB, run_engine
from everpost.bench.fill import fill_history, fill_ledger, fill_queue, leave_nothing_to_do
from everpost.bench.load import LoadReport
from everpost.bench.metrics import METRICS
from everpost.bench.plan import Plan, resized
from everpost.bench.run import MEASUREMENTS, run_bench
from everpost.bench.stack import BenchStack
from everpost.children import Child
from everpost.cli.bench import bench
from everpost.errors import SettingsError
from everpost.platforms import Platform
from everpost.publishing import InvalidError, PublishJob
from everpost.settings import Settings
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.migrate import migrate
from everpost_workers.publishers.null import NullPublisher

TINY = Plan(
    runs=1,
    connections=8,
    engine_jobs=200,
    arq_jobs=100,
    claim_jobs=100,
    due=50,
    scheduled=50,
    tasks=200,
    fleet_tasks=20,
    one_by_one=5,
    retries=5,
    batch_retries=50,
    requests=5,
    backlog=50,
    idle_s=0.1,
)


async def test_every_metric_is_measured_and_every_task_counted(tmp_path: Path) -> None:
    said: list[str] = []
    report = await run_bench(resized(TINY, warm_ups=0), tmp_path, said.append)
    assert list(report.metrics) == [metric.name for metric in METRICS]
    assert all(row.summary.min > 0 for row in report.metrics.values() if row.unit not in {"ms", "%"})
    assert all(len(row.summary.runs) == TINY.runs for row in report.metrics.values())
    assert report.metrics["engine"].ratio == pytest.approx(
        report.metrics["engine"].summary.median / report.metrics["engine_arq"].summary.median
    )
    ran = 2 * TINY.tasks + TINY.one_by_one + TINY.requests
    ran += TINY.fleet_tasks + TINY.tasks + TINY.backlog
    retried = 6 * TINY.retries + 2 * TINY.batch_retries
    assert report.tasks_checked == ran + retried
    assert report.metrics["fleet"].summary.max == TINY.fleet_tasks
    assert len(said) == len(MEASUREMENTS)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - an empty folder


def test_the_command_answers_in_json(tmp_path: Path) -> None:
    arguments = ["--quick", "--runs", "1", "--tasks", "100", "--only", "accept", "--growth", "1000", "--json"]
    done = CliRunner().invoke(bench, [*arguments, "--folder", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert set(answer) == {"machine", "versions", "plan", "metrics", "tasks_checked", "growth"}
    assert set(answer["metrics"]) == {"accept", "accept_p50", "accept_p99", "drain"}
    assert set(answer["metrics"]["accept"]["summary"]) == {"min", "median", "max", "runs"}
    assert len(answer["metrics"]["accept"]["summary"]["runs"]) == 1  # the one that warmed up is thrown away
    assert answer["versions"]["arq"]
    assert answer["growth"]["rows"] == 1_000
    assert set(answer["growth"]["ratios"]) == set(answer["metrics"])


async def test_a_lost_task_is_told_instead_of_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_one(path: Path, ids: list[str]) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM task_queue WHERE task_id = ?", (ids[0],))
            connection.commit()
        check_queued(path, ids)

    monkeypatch.setattr(throughput_module, "check_queued", lose_one)
    with pytest.raises(WorkIncomplete, match="of 20 accepted tasks the ledger has 19"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["accept"])


async def test_a_call_too_many_is_told_instead_of_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = throughput_module.submit

    async def forget_one(stack: BenchStack, plan: Plan, count: int, request: bytes | None = None) -> LoadReport:
        report = await submit(stack, plan, count, request)
        stack.expected_calls -= 1
        return report

    monkeypatch.setattr(throughput_module, "submit", forget_one)
    with pytest.raises(WorkIncomplete, match="the publishers were called 20 times for 19 recorded tasks"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["accept"])


async def test_a_lost_task_of_the_backlog_is_told_instead_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_one_too_few(path: Path, rows: int, data: bytes, priority: int) -> list[str]:
        return fill_ledger(path, rows - 1, data, priority)

    monkeypatch.setattr(backlog_module, "fill_ledger", fill_one_too_few)
    with pytest.raises(WorkIncomplete, match="of 50 waiting tasks 49 were recorded"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["backlog"])


async def test_jobs_that_were_to_be_left_and_are_not_are_told_instead_of_rates(tmp_path: Path) -> None:
    async with BenchStack(tmp_path).running(apis=0, workers=0) as stack:
        await fill_queue(stack.redis, "few", ["a", "b"], JOB)
        await run_engine(stack, "batch", 100, "few", waiting=2)
        with pytest.raises(WorkIncomplete, match="1 were not finished"):
            await run_engine(stack, "batch", 100, "few", waiting=3)


@pytest.mark.parametrize("kind", ["apis", "workers"])
async def test_a_process_that_does_not_start_is_not_left_running(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def spawn(*arguments: Any, **options: Any) -> Child:
        started.append(Child(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(stack_module, "Child", spawn)
    monkeypatch.setattr(stack_module, "START_TIMEOUT_S", 0.0)
    with pytest.raises(TimeoutError, match="does not start"):
        async with BenchStack(tmp_path).running(**{"apis": 0, "workers": 0, kind: 1}):
            pass
    assert [child.exit_code for child in started] == [-signal.SIGKILL]


async def test_a_server_that_does_not_start_is_told_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none() -> str:
        raise SettingsError("There is no valkey-server.")

    monkeypatch.setattr("everpost.embedded.server_program", find_none)
    with pytest.raises(SettingsError, match="no valkey-server"):
        async with BenchStack(tmp_path).running():
            pass


def recorded(path: Path, *attempts: str) -> list[str]:
    """A file whose history has a success with each of these attempt lists; the ids."""
    migrate(path)
    ids = [f"task{position}" for position in range(len(attempts))]
    with closing(sqlite3.connect(path)) as connection:
        rows = list(zip(ids, attempts, strict=True))
        connection.executemany("INSERT INTO publish_tasks (job_id, status, attempts) VALUES (?, 'success', ?)", rows)
        connection.commit()
    return ids


def test_a_task_that_ran_twice_or_is_missing_is_refused(tmp_path: Path) -> None:
    ids = recorded(tmp_path / "once.db", "[{}]", "[{}]")
    check_recorded(tmp_path / "once.db", ids)
    with pytest.raises(WorkIncomplete, match="of 3 tasks 2 are recorded"):
        check_recorded(tmp_path / "once.db", [*ids, "lost"])
    with pytest.raises(WorkIncomplete, match="of 2 tasks 0 are recorded as failed"):
        check_recorded(tmp_path / "once.db", ids, "failed")
    with pytest.raises(WorkIncomplete, match="with 3 attempts"):
        check_recorded(tmp_path / "twice.db", recorded(tmp_path / "twice.db", "[{}]", "[{}, {}]"))


def test_a_history_made_by_sql_is_one_that_everpost_takes_as_its_own(tmp_path: Path) -> None:
    path = tmp_path / "everpost.db"
    fill_history(path, 1_000, lambda _: None)
    assert migrate(path).kind == "current"
    with closing(sqlite3.connect(path)) as connection:
        counts = "SELECT status, tasks FROM task_counts ORDER BY tasks"
        assert connection.execute(counts).fetchall() == [("failed", 100), ("success", 900)]
        accounts = "SELECT count(DISTINCT account_id), min(account_id), max(account_id) FROM publish_tasks"
        assert connection.execute(accounts).fetchone() == (1_000, "account0", "account999")
        connection.execute("INSERT INTO publish_tasks (job_id, status, platform) VALUES ('x', 'failed', 'other')")
        assert connection.execute("SELECT sum(tasks) FROM task_counts").fetchone() == (1_001,)


def test_what_one_measurement_leaves_to_workers_is_not_done_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "everpost.db"
    fill_history(path, 10, lambda _: None)
    fill_ledger(path, 5, b'{"platform":"bench"}', 5)
    leave_nothing_to_do(path)
    with closing(RecordFile(path)) as records:
        assert records.select("SELECT count(*) FROM task_queue WHERE ? = 'any'", "any") == (0,)
        assert records.select("SELECT sum(tasks) FROM task_counts WHERE source = ?", "task_queue") == (0,)
        assert records.count("bench", "success") == 9


async def test_the_publisher_null_counts_its_calls_and_refuses_on_request(tmp_path: Path) -> None:
    options = {"count_file": str(tmp_path / "calls")}
    platform = Platform(id=1, name="p1", publisher="null")
    accepting = NullPublisher(options, Settings())
    refusing = NullPublisher({**options, "refuse": True}, Settings())
    task = PublishJob(task_id="t", data={}, platform=platform, idempotency_key="k")
    assert (await accepting.publish(task)).provider_post_id is None
    with pytest.raises(InvalidError):
        await refusing.publish(task)
    await accepting.close()
    await refusing.close()
    assert (tmp_path / "calls").read_text() == "1\n1\n"
    with pytest.raises(SettingsError):
        NullPublisher({"colour": 1}, Settings())
