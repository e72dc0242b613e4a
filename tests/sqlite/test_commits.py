import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiosqlite
import pytest

from everpost.store.sqlite.file import commits
from everpost.store.sqlite.file.commits import GroupCommits

WAIT_S = 10.0


class Commits:
    """Commits that can be held, and remember what they got."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def __call__(self, raw: sqlite3.Connection, writes: Sequence[int]) -> Sequence[int | BaseException]:
        self.groups.append(list(writes))
        self.begun.release()
        assert self.gate.acquire(timeout=WAIT_S)
        if 0 in writes:
            raise OSError("full")
        return [ValueError(write) if write < 0 else write * 2 for write in writes]

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=WAIT_S)

    def let_pass(self, number: int) -> None:
        self.gate.release(number)


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(tmp_path / "any.db") as opened:
        yield opened


@pytest.fixture
def commit() -> Commits:
    return Commits()


@pytest.fixture
def group_commits(connection: aiosqlite.Connection, commit: Commits) -> GroupCommits[int]:
    return GroupCommits(connection, commit, lambda: TimeoutError("stalled"))


async def submitted(group_commits: GroupCommits[int], *writes: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(group_commits.submit(write)) for write in writes]
    await asyncio.sleep(0)
    return tasks


async def test_writes_during_a_commit_are_committed_next_as_one_group(
    group_commits: GroupCommits[int], commit: Commits
) -> None:
    first = await submitted(group_commits, 1)
    await commit.has_begun()
    rest = await submitted(group_commits, 2, 3, 4)
    assert group_commits.waiting == 3
    commit.let_pass(2)
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8]
    assert commit.groups == [[1], [2, 3, 4]]


async def test_the_next_group_does_not_wait_for_the_event_loop(
    group_commits: GroupCommits[int], commit: Commits
) -> None:
    await submitted(group_commits, 1)
    await commit.has_begun()
    rest = await submitted(group_commits, 2)
    commit.let_pass(1)
    assert commit.begun.acquire(timeout=WAIT_S), "the event loop is held up here"
    commit.let_pass(1)
    assert await rest[0] == 4


async def test_each_caller_gets_its_own_error(group_commits: GroupCommits[int], commit: Commits) -> None:
    commit.let_pass(9)
    answers = await asyncio.gather(*await submitted(group_commits, 1, -2, 3), return_exceptions=True)
    assert [repr(answer) for answer in answers] == ["2", "ValueError(-2)", "6"]


async def test_a_commit_that_fails_fails_every_caller_and_the_next_one_works(
    group_commits: GroupCommits[int], commit: Commits
) -> None:
    commit.let_pass(9)
    answers = await asyncio.gather(*await submitted(group_commits, 0, 1), return_exceptions=True)
    assert [repr(answer) for answer in answers] == ["OSError('full')"] * 2
    assert await group_commits.submit(3) == 6


async def test_a_group_has_a_largest_size(
    group_commits: GroupCommits[int], commit: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST_WRITES", 2)
    commit.let_pass(9)
    assert await asyncio.gather(*await submitted(group_commits, 1, 2, 3, 4, 5)) == [2, 4, 6, 8, 10]
    assert commit.groups == [[1, 2], [3, 4], [5]]


async def test_a_caller_that_gives_up_before_its_commit_is_left_out_and_disturbs_no_other(
    group_commits: GroupCommits[int], commit: Commits
) -> None:
    (first,) = await submitted(group_commits, 1)
    await commit.has_begun()
    second, third = await submitted(group_commits, 2, 3)
    second.cancel()
    await asyncio.sleep(0)
    commit.let_pass(2)
    assert [await first, await third] == [2, 6]
    with pytest.raises(asyncio.CancelledError):
        await second
    assert commit.groups == [[1], [3]]


async def test_drain_waits_for_all_that_was_submitted(group_commits: GroupCommits[int], commit: Commits) -> None:
    (write,) = await submitted(group_commits, 1)
    commit.let_pass(1)
    await group_commits.drain()
    assert write.done() or await write == 2


async def test_between_two_groups_another_process_gets_its_turn(
    group_commits: GroupCommits[int], commit: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    first = await submitted(group_commits, 1)
    await commit.has_begun()
    rest = await submitted(group_commits, 2)
    commit.let_pass(2)
    await asyncio.gather(*first, *rest)
    assert pauses == [commits.PAUSE_S]


async def test_while_a_commit_does_not_end_other_writes_are_refused(
    group_commits: GroupCommits[int], commit: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "STALLED_S", 0.05)
    monkeypatch.setattr(commits, "LOOK_EVERY_S", 0.01)
    (first,) = await submitted(group_commits, 1)
    await commit.has_begun()
    answers = await asyncio.gather(*await submitted(group_commits, 2, 3), return_exceptions=True)
    assert [repr(answer) for answer in answers] == ["TimeoutError('stalled')"] * 2
    with pytest.raises(TimeoutError, match="stalled"):
        await group_commits.submit(4)
    assert not first.done()
    commit.let_pass(1)
    assert await first == 2
    await group_commits.drain()
    commit.let_pass(1)
    assert await group_commits.submit(5) == 10
    assert commit.groups == [[1], [5]]
