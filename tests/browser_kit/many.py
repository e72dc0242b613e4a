"""Very many failures, as a platform that was down for a night leaves them."""

import time

import msgspec

from everpost.store import Store
from everpost.task.model import Attempt, ErrorClass, Task, TaskRecord, TaskStatus, new_task_id

DAY_MS = 86_400_000
AT_ONCE = 2_000
PLATFORMS = ("douyin", "bilibili", "xiaohongshu", "kuaishou")
ERRORS = (
    (ErrorClass.TRANSIENT, "503 from up-{n}.example.test after {n} ms"),
    (ErrorClass.AUTH, "The cookies of account{n} expired."),
    (ErrorClass.INVALID, "The platform takes at most 20 characters; these are {n}."),
    (ErrorClass.PERMANENT, "Video {n} was refused: https://example.test/rules/{n}"),
)


async def add_failures(store: Store, number: int) -> None:
    """Add so many failed tasks, spread over the last day."""
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, number, AT_ONCE):
        at_ms = now_ms - DAY_MS + 60_000 + (DAY_MS - 120_000) * first // number
        tasks = [_task(n, at_ms) for n in range(first, min(number, first + AT_ONCE))]
        await store.ledger.accept(tasks, at_ms)
        await store.ledger.end([_failed(task, n) for n, task in enumerate(tasks, first)])


def _task(n: int, at_ms: int) -> Task:
    data = {"platform": PLATFORMS[n % 4], "account_id": f"account_{n % 7}", "title": f"Post {n}"}
    return Task(
        task_id=new_task_id(at_ms),
        created_at_ms=at_ms,
        task_data=msgspec.json.encode(data),
        platform=data["platform"],
        account_id=data["account_id"],
        title=data["title"],
        accepted_by="a test",
    )


def _failed(task: Task, n: int) -> TaskRecord:
    kind, error = ERRORS[n % 11 % 4]
    attempt = Attempt(number=1, started_at="2026-01-01T00:00:00.000Z", outcome=TaskStatus.FAILED, error_class=kind)
    return TaskRecord(
        task_id=task.task_id,
        status=TaskStatus.FAILED,
        finished_at_ms=task.created_at_ms + 1_000,
        attempt=attempt,
        error_class=kind,
        error_message=error.format(n=n),
    )
