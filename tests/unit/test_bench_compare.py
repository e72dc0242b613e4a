"""The table of Everpost and its peers: its content, and its place in the README."""

from collections.abc import Mapping

import pytest
from compare import BEGIN, COLUMNS, COMMANDS, END, README, Comparison, cell, table, write_between
from peers.measuring import plan_for
from peers.stacks import HERE, PEERS

from everpost.bench.plan import FULL, QUICK
from everpost.bench.report import Report, measured
from everpost.bench.samples import Results, Summary, summarize

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


def comparison(**peers: Mapping[str, float]) -> Comparison:
    ours = Results()
    for name, value in SEEN.items():
        ours.add(**{name: value})
    report = Report(
        machine={"cpu": "a cpu", "cores": 2, "memory_gb": 4, "kernel": "Linux 1", "file_system": "ext4"},
        versions={"python": "3.11"},
        plan=QUICK,
        metrics=measured(ours),
        tasks_checked=1,
    )
    return Comparison(
        report, {title: {name: summarize([value]) for name, value in seen.items()} for title, seen in peers.items()}
    )


def test_every_stack_has_a_row_with_a_cell_for_each_column() -> None:
    lines = table(comparison(a=SEEN, b=SEEN)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| **Everpost**", "| a", "| b"]
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 2}
    assert rows[2] == "| **Everpost** | 5,000 | 4,000 | 1.00 / 2.00 | 0.5 | 0.1 + 0.15 + 0.05 | 60.00 + 50.00 |"


def test_the_head_names_the_command_and_the_machine() -> None:
    shown = table(comparison(a=SEEN))
    assert f"{COMMANDS[QUICK.tasks]}, " in shown
    assert "2 cores of a cpu" in shown
    assert set(COMMANDS) == {QUICK.tasks, FULL.tasks}


def test_ratios_are_against_the_best_peer_of_each_column() -> None:
    fast_but_dear = SEEN | {"end_to_end": 2_000.0, "cpu": 3.0, "recorded_p50": 4.0}
    slow_but_cheap = SEEN | {"end_to_end": 500.0, "cpu": 0.6, "recorded_p50": 2.0}
    shown = table(comparison(fast=fast_but_dear, cheap=slow_but_cheap))
    assert "2.0 times the tasks end to end, 0.50 of the CPU, 0.50 of the wait" in shown


def test_a_missing_value_is_shown_as_a_dash() -> None:
    seen: dict[str, Summary] = {"cpu_api": summarize([0.1])}
    assert cell(seen, ("cpu_api", "cpu_worker")) == "0.1"
    assert cell(seen, ("retry_redis_p50",)) == "-"


def test_only_what_is_between_the_markers_is_replaced() -> None:
    assert write_between(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\nnew\n{END} b"
    with pytest.raises(ValueError, match="no <!-- bench: begin -->"):
        write_between("no markers", "new")
    assert write_between(README.read_text("utf-8"), "new")


def test_every_peer_has_a_place_of_its_own_and_is_sent_no_more_than_it_can_take() -> None:
    assert len({peer.title for peer in PEERS}) == len(PEERS)
    for peer in PEERS:
        assert (HERE / peer.folder / "requirements.txt").exists()
        planned = plan_for(peer, FULL)
        assert planned.tasks == FULL.tasks * peer.share
        assert planned.one_by_one == (peer.one_by_one or FULL.one_by_one)
