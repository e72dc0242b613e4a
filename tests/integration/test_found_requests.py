"""Accepted requests, refused requests, and the answers to repeated ones."""

import pytest

from everpost.clock import system_clock, to_text
from everpost.errors import SettingsError
from everpost.settings import read_settings
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

TASK = {"platform": 1, "account_id": "a"}


async def test_inherited_rows_do_not_count_as_backlog() -> None:
    async with everpost_stack(workers=0, max_backlog=2) as stack:
        for number in range(5):
            kit_of(stack.settings).add(Place.LEDGER, {"task_id": f"old{number}", "data": "{}"})
        answers = [await stack.client.post("/api/v1/publish", json=TASK) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 503]


async def test_a_repeated_request_has_the_same_answer_after_its_time_has_come(everpost: Stack) -> None:
    due_at_ms = system_clock() + 300
    body = {**TASK, "schedule_time": to_text(due_at_ms)}
    first = await everpost.client.post("/api/v1/publish", json=body, headers={"Idempotency-Key": "k"})

    async def is_due() -> bool:
        return system_clock() > due_at_ms

    await eventually(is_due)
    second = await everpost.client.post("/api/v1/publish", json=body, headers={"Idempotency-Key": "k"})
    assert first.json()["status"] == "scheduled"
    assert second.json() == first.json()


@pytest.mark.parametrize("name", ["LEASE", "JOB_TIMEOUT", "SHUTDOWN_WAIT"])
def test_an_infinite_time_is_refused_as_a_setting(name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVERPOST_{name}"):
        read_settings({f"EVERPOST_{name}": "inf"})


@pytest.mark.parametrize("name", ["ARCHIVE_AFTER_DAYS", "IDEMPOTENCY_HOURS", "RESULT_TTL"])
def test_a_time_before_the_year_1_or_after_9999_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVERPOST_{name}"):
        read_settings({f"EVERPOST_{name}": "99999999999"})
