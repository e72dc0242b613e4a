"""What is accepted, what is refused, and what a repeated request is answered."""

import asyncio

import pytest

from everpost.clock import system_clock, to_text
from everpost.errors import DatabaseUnusable, KeyReused, SettingsError
from everpost.settings import read_settings
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.sqlite.file.database import Database
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of
from store_rows import START_MS, make_task

TASK = {"platform": 1, "account_id": "a"}


async def test_inherited_rows_are_nobody_s_backlog() -> None:
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


async def test_nothing_is_accepted_into_a_file_that_was_moved_away() -> None:
    async with everpost_stack(workers=0) as stack:
        path = stack.settings.database_path
        await stack.publish()
        moved = path.rename(path.with_suffix(".moved"))
        answer = await stack.client.post("/api/v1/publish", json=TASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unusable")
        moved.rename(path)
        await stack.publish()


async def test_nothing_is_written_to_a_file_that_was_replaced() -> None:
    async with everpost_stack(workers=0) as stack:
        path = stack.settings.database_path
        path.rename(path.with_suffix(".moved"))
        other = await Database.open(path)
        with pytest.raises(DatabaseUnusable):
            await stack.execute("DELETE FROM task_queue")
        await other.close()


@pytest.mark.parametrize("name", ["LEASE", "JOB_TIMEOUT", "SHUTDOWN_WAIT"])
def test_a_time_without_end_is_no_setting(name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVERPOST_{name}"):
        read_settings({f"EVERPOST_{name}": "inf"})


@pytest.mark.parametrize("name", ["ARCHIVE_AFTER_DAYS", "IDEMPOTENCY_HOURS", "RESULT_TTL"])
def test_a_time_before_the_year_1_or_after_9999_is_no_setting(name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVERPOST_{name}"):
        read_settings({f"EVERPOST_{name}": "99999999999"})


async def test_a_reused_key_has_nothing_done_again_of_what_is_committed_with_it(everpost: Stack) -> None:
    ledger = everpost.store.ledger
    attempts: list[str] = []
    now_ms = system_clock()  # an older key the worker's upkeep may remove meanwhile, as one that has expired

    async def accept_once(task_id: str, body: str) -> FirstAnswer | None:
        key = IdempotencyKey("k", body, kept_ms=0)
        return await ledger.accept([make_task(task_id)], now_ms, Once(key, FirstAnswer(task_id, "{}")))

    await accept_once("first", "a body")
    answers = await asyncio.gather(
        ledger.accept([make_task("second")], START_MS),  # alone in its transaction; the others share the next one
        everpost.database.write(lambda _: attempts.append("run")),
        accept_once("third", "another body"),
        return_exceptions=True,
    )
    assert answers[0] is None
    assert isinstance(answers[2], KeyReused)
    assert attempts == ["run"]
