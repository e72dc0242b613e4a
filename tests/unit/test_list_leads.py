"""Which field of a filter a list follows: the one that the fewest tasks of the history share."""

from typing import Any

import pytest

from everpost.store.history import TaskFilter
from everpost.store.lists.counted import MOST_LED, accounts_reached, matches_nothing, rarer_of
from everpost.task.place import Place

COUNTS = [
    ("publish_tasks", "success", "douyin", 7_000_000),
    ("publish_tasks", "success", "wordpress", 700),
    ("publish_tasks", "failed", "douyin", 1_000_000),
    ("publish_tasks", "failed", "wordpress", 40),
    ("publish_tasks", "unknown", "douyin", 20),
    ("task_queue", "pending", "douyin", 100_000),
    ("task_queue", "retry", "wordpress", 100_000),
]
DOUYIN, WORDPRESS = ("douyin", "3"), ("wordpress",)


@pytest.mark.parametrize(
    ("fields", "followed"),
    [
        ({}, ""),
        ({"platform": WORDPRESS, "error_class": "transient"}, "platform"),
        ({"platform": DOUYIN, "error_class": "transient"}, "error_class"),
        ({"platform": ("nowhere",), "error_class": "transient"}, "platform"),
        ({"status": "unknown", "error_class": "transient"}, "status"),
        ({"status": "failed", "error_class": "transient"}, "error_class"),
        ({"status": "pending", "error_class": "transient"}, "status"),
        ({"status": "retry", "platform": DOUYIN}, "platform"),
        ({"status": "success", "account_id": "a"}, "account_id"),
        ({"account_id": "a", "error_class": "transient"}, "account_id"),
        ({"platform": DOUYIN, "reach": ("douyin\na", "3\na")}, "reach"),
        ({"platform": DOUYIN, "reach": ("douyin\na",), "account_id": "b"}, "account_id"),
        ({"platform": DOUYIN, "reach": ("douyin\na",), "status": "unknown"}, "platform"),
        ({"platform": WORDPRESS, "reach": ("wordpress",)}, "platform"),
        ({"platform": (*DOUYIN, *WORDPRESS), "reach": ("wordpress", "douyin\na")}, "platform"),
    ],
)
def test_a_list_follows_the_field_that_the_fewest_ended_tasks_share(fields: dict[str, Any], followed: str) -> None:
    assert rarer_of(COUNTS, TaskFilter(**fields)) == followed


@pytest.mark.parametrize("fields", [{"error_class": "auth"}, {"cause": "80ffc6947ceb"}])
def test_waiting_tasks_and_successes_have_no_error(fields: dict[str, Any]) -> None:
    assert matches_nothing(TaskFilter(**fields), Place.LEDGER)
    assert matches_nothing(TaskFilter(**fields, status="success"), Place.HISTORY)
    assert not matches_nothing(TaskFilter(**fields, status="failed"), Place.HISTORY)
    assert not matches_nothing(TaskFilter(status="success"), Place.HISTORY)


def test_the_accounts_of_a_scope_are_looked_up_one_by_one_if_they_are_few() -> None:
    few = tuple(f"douyin\n{number}" for number in range(MOST_LED))
    assert len(accounts_reached(TaskFilter(reach=few))) == MOST_LED
    assert accounts_reached(TaskFilter(reach=(*few, "douyin\nanother"))) == ()
    assert accounts_reached(TaskFilter(reach=(*few[1:], "3\n1"))) == tuple(str(number) for number in range(1, MOST_LED))
    assert accounts_reached(TaskFilter(reach=())) == ()
    assert accounts_reached(TaskFilter()) == ()
