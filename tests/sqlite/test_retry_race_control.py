"""What keeps many retries at once to one task (I5), each part taken away in turn: without both the check notices."""

import asyncio
from http import HTTPStatus

import pytest

from everpost.publishing import InvalidError
from everpost.store import positions
from everpost.testing import Stack, everpost_stack
from sqlite.kit import run_sql
from store_kit import kit_of

CALLERS = 12


async def failed_task(stack: Stack) -> str:
    """A task that may be retried, without a worker to run the retry."""
    stack.publisher.fail_next(InvalidError("no"))
    task_id = await stack.publish()
    await stack.wait_until_ended(task_id)
    await stack.stop_workers()
    return task_id


async def retry_at_once(stack: Stack, task_id: str) -> set[str]:
    """The ids that so many callers were given for its retry."""
    answers = await asyncio.gather(*(stack.post_retry(task_id) for _ in range(CALLERS)))
    return {answer.json()["new_task_id"] for answer in answers if answer.status_code == HTTPStatus.OK}


@pytest.mark.parametrize("is_blind", [False, True], ids=["looking at relatives", "blind"])
@pytest.mark.parametrize("has_index", [False, True], ids=["without the index", "with the index"])
async def test_either_the_look_at_relatives_or_the_unique_index_keeps_many_retries_to_one_task(
    monkeypatch: pytest.MonkeyPatch, *, is_blind: bool, has_index: bool
) -> None:
    if is_blind:
        monkeypatch.setattr(positions, "relatives_of", lambda *_: [])
    async with everpost_stack() as stack:
        task_id = await failed_task(stack)
        if not has_index:
            run_sql(stack, "DROP INDEX task_queue_one_live_retry")  # a process that starts would make it again
        new_ids = await retry_at_once(stack, task_id)
        twins = kit_of(stack.settings.database_path).find_chains_twice_alive()
    if has_index or not is_blind:
        assert (len(new_ids), twins) == (1, [])
    else:
        assert len(new_ids) > 1
        assert twins
