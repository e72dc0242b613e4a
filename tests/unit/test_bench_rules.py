"""The bench's own arithmetic, and that its tables agree with each other."""

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from everpost.bench.answers import http_request, is_whole
from everpost.bench.checks import WorkIncomplete, check_answers
from everpost.bench.fleet import busy_share, most_at_once, read_spans
from everpost.bench.load import LoadReport
from everpost.bench.metrics import GROUPS, GROWING, METRIC_OF, METRICS, is_reached
from everpost.bench.plan import FULL, QUICK, resized
from everpost.bench.report import Report, grown, measured, number, print_report
from everpost.bench.run import MEASUREMENTS
from everpost.bench.samples import Results, growth_ratios, percentile, ratio, summarize
from everpost.bench.stack import ACCEPTING, BenchStack, Cost
from everpost.bench.throughput import cpu_ms, drain, drain_rate
from everpost.cli.bench import GROUPS as OFFERED
from everpost.store import open_store
from everpost.task.model import Attempt, TaskStatus
from store_rows import accept, end, make_task


def results(**values: list[float]) -> Results:
    made = Results()
    for name, seen in values.items():
        for value in seen:
            made.add(**{name: value})
    return made


def answered(count: int, ids: list[str], wrong: int = 0) -> LoadReport:
    return LoadReport(started_s=0, finished_s=1, waits_s=[0.001] * count, ids=ids, wrong=wrong, example="HTTP/1.1 503")


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_summary_has_the_middle_and_every_run() -> None:
    summary = summarize([3.0, 1.0, 2.0])
    assert (summary.min, summary.median, summary.max, list(summary.runs)) == (1, 2, 3, [3, 1, 2])


def test_a_ratio_is_of_medians_and_only_where_both_were_measured() -> None:
    seen = results(engine=[10.0, 30.0, 20.0], engine_arq=[2.0], nothing=[0.0])
    assert ratio(seen, "engine", "engine_arq") == 10
    assert ratio(seen, "engine", "accept") is None
    assert ratio(seen, "engine", "nothing") is None


def test_growth_compares_what_was_measured_on_both_files() -> None:
    small, large = results(accept=[100.0], engine=[1.0]), results(accept=[90.0])
    assert growth_ratios(small, large) == {"accept": 0.9}


def test_values_the_system_does_not_tell_are_left_out() -> None:
    made = Results()
    made.add(cpu=None, accept=1.0)
    assert list(made) == ["accept"]
    assert cpu_ms(Cost(1, 1, None), Cost(2, 3, None), 1_000) == {
        "cpu": None,
        "cpu_api": 1,
        "cpu_worker": 2,
        "cpu_valkey": None,
        "cpu_database": None,
    }


def test_a_goal_is_reached_in_the_metric_s_own_direction() -> None:
    assert is_reached(METRIC_OF["accept_p99"], summarize([19]), None) is True
    assert is_reached(METRIC_OF["accept_p99"], summarize([21]), None) is False
    assert is_reached(METRIC_OF["engine"], summarize([40_000]), 9.9) is False
    assert is_reached(METRIC_OF["engine"], summarize([40_000]), 10) is True
    assert is_reached(METRIC_OF["claim_deep"], summarize([50]), 1.21) is False
    assert is_reached(METRIC_OF["claim_deep"], summarize([50]), 0.9) is True
    assert is_reached(METRIC_OF["list_p99"], summarize([1]), None) is None


def test_a_worst_wait_is_compared_by_the_worst_run_and_others_by_their_median() -> None:
    assert is_reached(METRIC_OF["accept_two_worst"], summarize([1, 2, 501]), None) is False
    assert is_reached(METRIC_OF["accept_p99"], summarize([1, 2, 501]), None) is True


def test_a_drain_is_timed_from_its_first_tenth_to_its_end() -> None:
    assert drain_rate([(0.0, 0), (5.0, 100), (5.5, 600), (5.9, 1_000)]) == pytest.approx(1_000)
    assert drain_rate([(0.0, 0), (0.5, 100)]) == 200


async def test_a_worker_that_is_done_before_the_first_look_is_timed_from_its_start(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "everpost.db"))
    await accept(store, make_task("t", platform=ACCEPTING))
    stack = BenchStack(tmp_path, tmp_path / "everpost.db")

    async def start_worker() -> None:
        attempt = Attempt(number=1, started_at="", finished_at="", outcome=TaskStatus.SUCCESS, worker="w")
        await end(store, "t", status=TaskStatus.SUCCESS, attempt=attempt)

    stack.start_worker, stack.check_calls = start_worker, lambda: None  # type: ignore[assignment,method-assign]
    assert await drain(stack, ["t"]) > 0
    await stack.valkey.stop()
    await store.close()


def test_attempts_are_counted_that_are_under_way_at_the_same_time() -> None:
    spans = read_spans(
        [
            ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"),
            ("2026-01-01T00:00:00.500Z", "2026-01-01T00:00:02.000Z"),
            ("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:01.500Z"),
        ]
    )
    assert most_at_once(spans) == 2
    assert busy_share(spans, 2) == 0.75


@pytest.mark.parametrize(
    "report",
    [answered(2, ["a", "b"], wrong=1), answered(1, ["a"]), answered(2, ["a", "a"]), answered(2, ["a"])],
    ids=["a wrong answer", "a missing answer", "one id for two tasks", "a task without an id"],
)
def test_answers_that_are_not_all_right_are_refused(report: LoadReport) -> None:
    with pytest.raises(WorkIncomplete):
        check_answers(report, 2)


def test_an_answer_is_whole_when_all_of_its_body_is_there() -> None:
    request = http_request("POST", "/x", b"{}")
    assert request.endswith(b"Content-Length: 2\r\n\r\n{}")
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc"
    assert [is_whole(answer[:end]) for end in (10, len(answer) - 1, len(answer))] == [False, False, True]
    assert is_whole(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_every_metric_is_of_a_measurement_that_the_command_offers() -> None:
    assert list(MEASUREMENTS) == list(GROUPS) == list(OFFERED)
    assert set(GROWING) <= set(GROUPS)
    assert {metric.base for metric in METRICS if metric.base} <= set(METRIC_OF)
    assert len(METRIC_OF) == len(METRICS)


def test_sizes_of_the_command_line_replace_the_plan_s() -> None:
    assert resized(FULL, runs=2, tasks=None) == msgspec.structs.replace(FULL, runs=2)
    assert QUICK.tasks < FULL.tasks


def test_numbers_have_three_digits_at_least() -> None:
    assert [number(value) for value in (12_345.6, 99.9, 1.5, 0.12345)] == ["12,346", "99.90", "1.50", "0.123"]


def test_the_table_has_medians_ratios_and_growth(capsys: pytest.CaptureFixture[str]) -> None:
    seen = results(engine=[100.0, 300.0, 200.0], engine_arq=[20.0], accept=[50.0])
    report = Report(
        machine={"cpu": "a cpu", "cores": 2, "memory_gb": 4, "kernel": "Linux 1", "file_system": "ext4"},
        versions={"python": "3.11"},
        plan=QUICK,
        metrics=measured(seen),
        tasks_checked=1_234,
        growth=grown(10_000, seen, results(accept=[45.0])),
    )
    print_report(report, Console(width=200))
    shown = capsys.readouterr().out
    assert "2 cores of a cpu" in shown
    assert "10.00x engine_arq" in shown
    assert "With 10,000 rows in the history" in shown
    assert "0.90" in shown
    assert "1,234 tasks counted" in shown
