"""Writes that wait for a slow database are bounded: more posts are refused at once, those that wait are accepted."""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import pytest

from everpost.actions import publish
from everpost.database_address import is_postgresql
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

WAITING = 3
POSTS = 20

pytestmark = pytest.mark.usefixtures("both_stores")


async def test_posts_are_refused_while_too_many_wait_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MOST_UNWRITTEN", WAITING)
    async with everpost_stack(workers=0) as stack:
        # However slow the machine is, no writer counts as stalled, or the waiting posts would be refused, too.
        monkeypatch.setattr(sys.modules[type(commits_of(stack)).__module__], "STALLED_S", 60.0, raising=False)
        await eventually(lambda: are_writing(stack, 0), what="the end of what a start writes")
        writers = 2 if is_postgresql(stack.settings.database_address) else 1
        first: list[asyncio.Task[int]] = []

        async def all_wait_for_the_lock() -> bool:
            if await are_writing(stack, writers):
                return True
            first.append(asyncio.create_task(post(stack)))
            return False

        with kit_of(stack.settings).locked():
            await eventually(all_wait_for_the_lock, what="commits that wait for the lock")
            others = [asyncio.create_task(post(stack)) for _ in range(POSTS)]
            await eventually(lambda: count_done(others, POSTS - WAITING), what="refusals")
            assert commits_of(stack).waiting == WAITING
        answers = await asyncio.gather(*others)
        assert answers.count(HTTPStatus.ACCEPTED) <= WAITING
        accepted = [*answers, *await asyncio.gather(*first)].count(HTTPStatus.ACCEPTED)
        assert kit_of(stack.settings).count(Place.LEDGER) == accepted


async def test_posts_are_refused_while_too_much_waits_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MOST_UNWRITTEN_BYTES", WAITING * 1_000)
    async with everpost_stack(workers=0) as stack:
        with kit_of(stack.settings).locked():
            posts = [asyncio.create_task(post(stack, title="x" * 1_000)) for _ in range(POSTS)]
            await eventually(lambda: count_done(posts, POSTS - WAITING), what="refusals")
        answers = await asyncio.gather(*posts)
        assert answers.count(HTTPStatus.ACCEPTED) == WAITING
        assert await post(stack) == HTTPStatus.ACCEPTED


async def post(stack: Stack, **fields: str) -> int:
    answer = await stack.client.post("/api/v1/publish", json={"platform": 1, "account_id": "a", **fields})
    if answer.status_code != HTTPStatus.ACCEPTED:
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.json()["code"] == "backlog_full"
        assert "retry-after" in answer.headers
    return answer.status_code


def commits_of(stack: Stack) -> Any:
    """What writes for the API."""
    return stack.app.state.services.store.ledger._database._commits


async def are_writing(stack: Stack, wanted: int) -> bool:
    """Whether so many writers write. SQLite's has begun once its thread has taken what waits."""
    commits = commits_of(stack)
    writing = len(commits._writers) if hasattr(commits, "_writers") else int(commits._begun_s is not None)
    return writing == wanted


async def count_done(tasks: list[asyncio.Task[int]], wanted: int) -> bool:
    return sum(task.done() for task in tasks) >= wanted
