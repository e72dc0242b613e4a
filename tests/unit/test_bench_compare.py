"""The tables of Everpost and its peers: their content, and their places in the documents."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import capacity
import msgspec
import on_postgresql
import pytest
from capacity import Costs, load_of, valkey_limit
from compare import COMMANDS, PLACES, short_table, table
from on_postgresql import OnPostgresql
from peers.measuring import plan_for
from peers.stacks import HERE, OBAN, PEERS, python_for
from tables import COLUMNS, SHORT, cell

from everpost.bench.metrics import METRIC_OF
from everpost.bench.plan import FULL, QUICK
from everpost.bench.report import Report, grown, measured
from everpost.bench.samples import Results, Summary, summarize
from marked_text import write_between

SEEN = {
    "end_to_end_submit": 5_000.0,
    "end_to_end": 4_000.0,
    "recorded_p50": 1.0,
    "recorded_p99": 2.0,
    "retry_redis_p50": 0.5,
    "cpu": 0.3,
    "cpu_api": 0.1,
    "cpu_worker": 0.15,
    "cpu_valkey": 0.05,
    "rss_api": 60.0,
    "rss_worker": 50.0,
}


def report_of(ours: Results) -> Report:
    return Report(
        machine={"cpu": "a cpu", "cores": 2, "memory_gb": 4, "kernel": "Linux 1", "file_system": "ext4"},
        versions={"python": "3.11"},
        plan=QUICK,
        metrics=measured(ours),
        tasks_checked=1,
    )


def shown(make: Callable[..., str] = table, **peers: Mapping[str, float]) -> str:
    ours = Results()
    for name, value in SEEN.items():
        ours.add(**{name: value})
    theirs = {title: {name: summarize([value]) for name, value in seen.items()} for title, seen in peers.items()}
    return make(report_of(ours), theirs)


def test_every_stack_has_a_row_with_a_cell_for_each_column() -> None:
    lines = shown(a=SEEN, b=SEEN).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| **Everpost**", "| a", "| b"]
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 2}
    assert rows[2] == "| **Everpost** | 5,000 | 4,000 | 1.00 / 2.00 | 0.5 | 0.1 + 0.15 + 0.05 | 60.00 + 50.00 |"


def test_the_readme_has_the_same_measurement_in_fewer_columns() -> None:
    head, _, *rows = shown(short_table, a=SEEN).splitlines()
    assert (f"{COMMANDS[QUICK.tasks]}, " in head, head.endswith("2 cores of a cpu:")) == (True, True)
    assert rows[2] == "| **Everpost** | 4,000 | 1.00 / 2.00 | 0.1 + 0.15 + 0.05 | 60.00 + 50.00 |"
    assert {row.count("|") for row in rows[:4]} == {len(SHORT) + 2}
    assert rows[-1] in shown(a=SEEN).splitlines()


def test_the_head_names_the_command_and_the_machine() -> None:
    text = shown(a=SEEN)
    assert f"{COMMANDS[QUICK.tasks]}, " in text
    assert "2 cores of a cpu" in text
    assert set(COMMANDS) == {QUICK.tasks, FULL.tasks}


def test_ratios_are_against_the_best_peer_of_each_column() -> None:
    fast_but_dear = SEEN | {"end_to_end": 2_000.0, "cpu": 3.0, "recorded_p50": 4.0}
    slow_but_cheap = SEEN | {"end_to_end": 500.0, "cpu": 0.6, "recorded_p50": 2.0}
    text = shown(fast=fast_but_dear, cheap=slow_but_cheap)
    assert "2.0 times the tasks end to end, 0.50 of the CPU, 0.50 of the wait" in text


def test_a_missing_value_is_shown_as_a_dash() -> None:
    seen: dict[str, Summary] = {"cpu_api": summarize([0.1])}
    assert cell(seen, ("cpu_api", "cpu_worker")) == "0.1"
    assert cell(seen, ("retry_redis_p50",)) == "-"


def test_only_what_is_between_the_markers_is_replaced() -> None:
    begin, end = "<!-- bench: begin -->", "<!-- bench: end -->"
    assert write_between(f"a {begin} old {end} b", "new", "bench") == f"a {begin}\nnew\n{end} b"
    with pytest.raises(ValueError, match="no <!-- bench: begin -->"):
        write_between("no markers", "new", "bench")


@pytest.mark.parametrize(("name", "document"), [*PLACES.items(), ("capacity", capacity.DOCUMENT)])
def test_the_documents_have_a_place_for_each_table(name: str, document: Path) -> None:
    assert "new" in write_between(document.read_text("utf-8"), "new", name)


def test_a_table_on_a_server_has_oban_and_what_was_measured_in_turns() -> None:
    ours = Results()
    for name, metric in METRIC_OF.items():
        ours.add(**{name: 1.15 if metric.unit == "x" else SEEN.get(name, 0.05)})
    oban = SEEN | {"cpu_database": 0.5, "in_turns": 4.5}
    report = report_of(ours)
    large = Results()
    large.add(grown=0.97)
    found = OnPostgresql(
        report,
        {name: summarize([value]) for name, value in oban.items()},
        msgspec.structs.replace(report, growth=grown(10_000_000, Results(), large)),
    )
    text = on_postgresql.table(found, on_postgresql.command_of(FULL))
    assert "| **Everpost on PostgreSQL** | 5,000 | 4,000 |" in text
    assert f"| {OBAN.title} | " in text
    assert "SQLite: 1.15 times (median of 1 pairs, 1.15 to 1.15)" in text
    assert "oban-py: 4.50 times" in text
    assert "PostgreSQL 10.0 times the CPU" in text
    assert "APIs 1.15, workers 1.15, Valkey 1.15, PostgreSQL 1.15" in text
    assert "With 10,000,000 rows of history, in turns with none: 0.97 times" in text


COSTS = Costs(api=0.07, worker=0.07, valkey=0.025, database=0.1, fsyncs=0.04, wal_kb=3)


def test_a_larger_postgresql_bears_more_until_one_valkey_is_full() -> None:
    small, large = load_of(COSTS, 2), load_of(COSTS, 16)
    assert small.tasks_per_s == pytest.approx(14_000)
    assert (small.apis, small.workers) == (2, 2)
    assert small.fsyncs_per_s == pytest.approx(560)
    assert small.wal_mb_per_s == pytest.approx(42)
    assert large.tasks_per_s == pytest.approx(8 * small.tasks_per_s)
    assert small.tasks_per_s < valkey_limit(COSTS) < large.tasks_per_s
    rows = [line for line in capacity.table(COSTS).splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| 2 | 14,000 | 2 | 2 | 0.3 | 560 | 42 | PostgreSQL |"
    assert rows[-1].endswith("| Valkey |")


def test_every_peer_has_a_place_of_its_own_and_is_sent_no_more_than_it_can_take() -> None:
    assert len({peer.title for peer in (*PEERS, OBAN)}) == len(PEERS) + 1
    for peer in (*PEERS, OBAN):
        assert (HERE / peer.folder / "requirements.txt").exists()
        planned = plan_for(peer, FULL)
        assert planned.tasks == FULL.tasks * peer.share
        assert planned.one_by_one == (peer.one_by_one or FULL.one_by_one)


def test_a_peer_gets_a_python_that_is_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_for(PEERS[0]) == sys.executable
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"needs Python 99\.0"):
        python_for(msgspec.structs.replace(OBAN, python=(99, 0)))
