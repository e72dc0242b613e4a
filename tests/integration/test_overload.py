"""Writes that wait for a slow database are bounded: more posts are refused at once, those that wait are accepted."""

import asyncio
from functools import partial
from http import HTTPStatus

import pytest

from everpost.actions import publish
from everpost.store.postgresql.link import waiting
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

WAITING = 3
POSTS = 20

pytestmark = pytest.mark.usefixtures("both_stores")


async def test_posts_are_refused_while_too_many_wait_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MOST_UNWRITTEN", WAITING)
    monkeypatch.setattr(waiting, "PATIENCE_S", 60)  # PostgreSQL's second writer does not help out
    async with everpost_stack(workers=0) as stack:
        await eventually(lambda: are_writing(stack, 0), what="the end of what a start writes")
        with kit_of(stack.settings).locked():
            first = asyncio.create_task(post(stack))
            await eventually(partial(are_writing, stack, 1), what="a commit that waits for the lock")
            others = [asyncio.create_task(post(stack)) for _ in range(POSTS)]
            await eventually(lambda: count_done(others, POSTS - WAITING), what="refusals")
        answers = await asyncio.gather(first, *others)
        assert answers.count(HTTPStatus.ACCEPTED) == 1 + WAITING
        assert kit_of(stack.settings).count(Place.LEDGER) == 1 + WAITING


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


async def are_writing(stack: Stack, wanted: int) -> bool:
    """Whether so many writers have taken everything that waited."""
    commits = stack.app.state.services.store.ledger._database._commits
    writers = commits._writers if hasattr(commits, "_writers") else {commits._runner} - {None}
    return len(writers) == wanted and commits.waiting == 0


async def count_done(tasks: list[asyncio.Task[int]], wanted: int) -> bool:
    return sum(task.done() for task in tasks) >= wanted
