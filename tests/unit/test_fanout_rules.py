"""The one status of a fan-out, how its posts are made, and whose fault a wrong value is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import InvalidValue
from everpost.task.fanout_rules import (
    REJECTED,
    FanoutStatus,
    count_statuses,
    is_failure,
    merged_items,
    place_fault,
    status_of,
)
from everpost.task.model import UNFINISHED, TaskStatus


@pytest.mark.parametrize(
    ("statuses", "rejected", "status"),
    [
        (["success", "success"], 0, "success"),
        (["success"], 1, "partial"),
        (["success", "failed"], 0, "partial"),
        (["success", "unknown"], 0, "partial"),
        (["success", "cancelled"], 0, "partial"),
        (["failed", "cancelled", "unknown"], 0, "failed"),
        (["success", "failed", "retry"], 3, "running"),
        (["scheduled"], 0, "running"),
    ],
)
def test_a_fan_out_has_one_status(statuses: list[str], rejected: int, status: str) -> None:
    assert status_of(statuses, rejected) is FanoutStatus(status)


@given(st.lists(st.sampled_from([*map(str, TaskStatus)]), min_size=1, max_size=8), st.integers(0, 3))
def test_a_fan_out_runs_exactly_as_long_as_one_of_its_tasks_and_counts_each_once(
    statuses: list[str], rejected: int
) -> None:
    runs = any(status in UNFINISHED for status in statuses)
    assert (status_of(statuses, rejected) is FanoutStatus.RUNNING) == runs
    counts = count_statuses(statuses, rejected)
    assert sum(counts.values()) == len(statuses) + rejected
    assert counts[REJECTED] == rejected


def test_only_failures_are_retried_and_with_force_what_is_unknown() -> None:
    assert [status for status in TaskStatus if is_failure(status, force=False)] == ["failed"]
    assert {status for status in TaskStatus if is_failure(status, force=True)} == {"failed", "unknown"}


def test_an_account_adds_replaces_and_removes_fields_of_the_content() -> None:
    content: dict[str, Any] = {"title": "t", "cover": "c", "options": {"a": 1, "b": 2}}
    accounts: list[dict[str, Any]] = [
        {"account_id": "1"},
        {"account_id": "2", "title": "other", "cover": None, "options": {"b": 3}},
    ]
    assert merged_items(content, accounts) == [
        {"title": "t", "cover": "c", "options": {"a": 1, "b": 2}, "account_id": "1"},
        {"title": "other", "options": {"a": 1, "b": 3}, "account_id": "2"},
    ]


@pytest.mark.parametrize(
    ("path", "placed"),
    [
        ("$.title", "$.accounts[4].title"),
        ("$.tags[0]", "$.content.tags[0]"),
        ("$.cover", "$.content.cover"),
        ("$", "$.accounts[4]"),
    ],
)
def test_a_fault_is_placed_where_the_client_wrote_the_value(path: str, placed: str) -> None:
    error = InvalidValue("wrong", path)
    place_fault(error, 4, {"title": 7, "cover": None})
    assert error.path == placed
