"""`everpost bench` on a tiny plan: its answer, and its refusal to report rates of incomplete work."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import everpost.bench.stack as stack_module
import everpost.bench.throughput as throughput_module
from everpost.bench.checks import WorkIncomplete, check_queued, check_recorded
from everpost.bench.engine import JOB, run_engine
from everpost.bench.load import LoadReport
from everpost.bench.metrics import METRICS
from everpost.bench.plan import Plan, resized
from everpost.bench.run import MEASUREMENTS, run_bench
from everpost.bench.stack import BenchStack
from everpost.bench.throughput import warm_up
from everpost.children import Child
from everpost.cli.bench import bench
from everpost.errors import SettingsError
from everpost.platforms import Platform
from everpost.publishing import InvalidError, PublishJob
from everpost.settings import Settings
from everpost.store import measured_store, open_store
from everpost.store.measured import MeasuredStore
from everpost.task.place import Place
from everpost_workers.publishers.null import NullPublisher
from store_kit import kit_of

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
    due_times=5,
    retries=5,
    batch_retries=50,
    requests=5,
    backlog=50,
    limited=20,
    idle_s=0.1,
    pairs=2,
    pair_tasks=100,
    settle_s=0,
)
ON_A_SERVER = ("beside", "scale", "grown")  # or with a large history
IN_TURNS = ("limits", "held")  # they have as many values as pairs, and many tasks wait meanwhile


@pytest.mark.chaos
async def test_every_metric_is_measured_and_every_task_counted(tmp_path: Path) -> None:
    said: list[str] = []
    groups = [name for name in MEASUREMENTS if name not in {*ON_A_SERVER, *IN_TURNS}]
    report = await run_bench(resized(TINY, warm_ups=0), tmp_path, said.append, only=groups)
    assert list(report.metrics) == [
        metric.name for metric in METRICS if metric.group in groups and metric.name != "cpu_database"
    ]
    assert all(row.summary.min > 0 for row in report.metrics.values() if row.unit not in {"ms", "%"})
    assert all(len(row.summary.runs) == TINY.runs for row in report.metrics.values())
    assert report.metrics["engine"].ratio == pytest.approx(
        report.metrics["engine"].summary.median / report.metrics["engine_arq"].summary.median
    )
    ran = 2 * TINY.tasks + TINY.one_by_one + TINY.requests
    ran += TINY.fleet_tasks + TINY.tasks + TINY.backlog + 2 * TINY.due_times
    retried = 6 * TINY.retries + 2 * TINY.batch_retries
    assert report.tasks_checked == ran + retried
    assert report.metrics["fleet"].summary.max == TINY.fleet_tasks
    assert len(said) == len(groups)


@pytest.mark.chaos
@pytest.mark.parametrize("group", IN_TURNS)
async def test_other_tasks_are_measured_while_many_of_one_account_wait(tmp_path: Path, group: str) -> None:
    report = await run_bench(resized(TINY, warm_ups=0), tmp_path, lambda _: None, only=[group])
    assert list(report.metrics) == [metric.name for metric in METRICS if metric.group == group]
    assert len(report.metrics[group].summary.runs) == TINY.pairs
    of_each = warm_up(TINY) + TINY.pairs * (TINY.pair_tasks + TINY.one_by_one)
    ran_of_lane = report.tasks_checked - 2 * of_each
    assert 0 <= ran_of_lane <= TINY.limited
    assert group == "limits" or ran_of_lane == TINY.limited  # those of the held account run once it is resumed
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - an empty folder


@pytest.mark.parametrize("rows", [0, pytest.param(1_000, marks=pytest.mark.chaos)])
def test_the_command_answers_in_json(tmp_path: Path, rows: int) -> None:
    arguments = ["--quick", "--runs", "1", "--tasks", "100", "--only", "accept", "--growth", str(rows), "--json"]
    done = CliRunner().invoke(bench, [*arguments, "--folder", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert set(answer) == {"machine", "versions", "plan", "metrics", "tasks_checked", "growth"}
    assert set(answer["metrics"]) == {"accept", "accept_p50", "accept_p99", "drain"}
    assert set(answer["metrics"]["accept"]["summary"]) == {"min", "median", "max", "runs"}
    assert len(answer["metrics"]["accept"]["summary"]["runs"]) == 1  # the one that warmed up is thrown away
    assert answer["versions"]["arq"]
    assert bool(answer["growth"]) == bool(rows)
    assert not rows or answer["growth"]["rows"] == rows
    assert not rows or set(answer["growth"]["ratios"]) == set(answer["metrics"])


@pytest.mark.parametrize(
    ("group", "needed"), [("beside", "--database"), ("scale", "--database"), ("grown", "--growth")]
)
def test_what_cannot_be_measured_alone_is_refused(group: str, needed: str) -> None:
    done = CliRunner().invoke(bench, ["--only", group])
    assert done.exit_code == 2
    assert f"--only {group} needs {needed}." in done.output


async def test_a_lost_task_is_told_instead_of_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_one(store: MeasuredStore, ids: list[str]) -> None:
        kit_of(next(tmp_path.rglob("everpost.db"))).remove(Place.LEDGER, ids[0])
        check_queued(store, ids)

    monkeypatch.setattr(throughput_module, "check_queued", lose_one)
    with pytest.raises(WorkIncomplete, match="of 20 accepted tasks the ledger has 19"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["accept"])


@pytest.mark.chaos
async def test_a_call_too_many_is_told_instead_of_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = throughput_module.submit

    async def forget_one(stack: BenchStack, plan: Plan, count: int, request: bytes | None = None) -> LoadReport:
        report = await submit(stack, plan, count, request)
        stack.expected_calls -= 1
        return report

    monkeypatch.setattr(throughput_module, "submit", forget_one)
    with pytest.raises(WorkIncomplete, match="the publishers were called 20 times for 19 recorded tasks"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["accept"])


@pytest.mark.chaos
async def test_a_lost_task_of_the_backlog_is_told_instead_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(measured_store(str(tmp_path / "any.db")))
    fill_ledger = kind.fill_ledger

    def fill_one_too_few(store: MeasuredStore, rows: int, data: bytes, priority: int) -> list[str]:
        return fill_ledger(store, rows - 1, data, priority)

    monkeypatch.setattr(kind, "fill_ledger", fill_one_too_few)
    with pytest.raises(WorkIncomplete, match="of 50 waiting tasks 49 were recorded"):
        await run_bench(TINY, tmp_path, lambda _: None, only=["backlog"])


@pytest.mark.chaos
async def test_jobs_that_were_to_be_left_and_are_not_are_told_instead_of_rates(tmp_path: Path) -> None:
    async with BenchStack(tmp_path).running(apis=0, workers=0) as stack:
        await stack.queue.fill("few", ["a", "b"], JOB)
        await run_engine(stack, "batch", 100, "few", waiting=2)
        with pytest.raises(WorkIncomplete, match="1 did not end"):
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


async def recorded(path: Path, *attempts: str) -> MeasuredStore:
    """A store whose history has a success with each of these attempt lists."""
    await (await open_store(str(path))).close()
    rows = [{"task_id": f"task{n}", "status": "success", "attempts": made} for n, made in enumerate(attempts)]
    kit_of(path).add(Place.HISTORY, *rows)
    return measured_store(str(path))


async def test_a_task_that_ran_twice_or_is_missing_is_refused(tmp_path: Path) -> None:
    ids = ["task0", "task1"]
    once = await recorded(tmp_path / "once.db", "[{}]", "[{}]")
    check_recorded(once, ids)
    with pytest.raises(WorkIncomplete, match="of 3 tasks 2 are recorded"):
        check_recorded(once, [*ids, "lost"])
    with pytest.raises(WorkIncomplete, match="of 2 tasks 0 are recorded as failed"):
        check_recorded(once, ids, "failed")
    with pytest.raises(WorkIncomplete, match="with 3 attempts"):
        check_recorded(await recorded(tmp_path / "twice.db", "[{}]", "[{}, {}]"), ids)


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
