"""A backup is put back: the stack starts paused, says what it knows, and sends nothing twice."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from everpost.clock import system_clock, to_text
from everpost.errors import DatabaseBusy, DatabaseUnusable, DatabaseUnwritable
from everpost.store.pause import Pause
from everpost.store.sqlite.care.backup import back_up_database
from everpost.store.sqlite.care.restore import restore_database
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from sqlite.original_database import make_original

HOUR_MS = 3_600_000
RESUME = "/api/v1/dispatch/resume"


def restore(folder: Path) -> Pause:
    return restore_database(folder / "backup.db", folder / "everpost.db", system_clock())


@asynccontextmanager
async def restored(folder: Path, *, workers: int = 1, **given: Any) -> AsyncIterator[Stack]:
    """A stack on the folder's backup, and on whatever Valkey left there."""
    restore(folder)
    async with everpost_stack(folder=folder, workers=0, durable=True, **given) as stack:
        for _ in range(workers):
            await stack.start_worker()
        yield stack


async def back_up(stack: Stack) -> None:
    await asyncio.to_thread(back_up_database, stack.settings.database_path, stack.settings.data / "backup.db")


async def statuses(stack: Stack) -> dict[str | None, str]:
    """What every task has become, by title."""
    rows = await stack.sql(
        "SELECT title, status FROM task_queue UNION ALL SELECT title, status FROM publish_tasks ORDER BY 1"
    )
    return dict(rows)


async def resume(stack: Stack, **parameters: Any) -> dict[str, Any]:
    answer = await stack.client.post(RESUME, params=parameters)
    assert answer.status_code == 200, answer.text
    resumed: dict[str, Any] = answer.json()["resumed"]
    return resumed


async def checks(stack: Stack) -> dict[str, Any]:
    answer = await stack.client.get("/health/ready")
    return {check["name"]: check for check in answer.json()["checks"]}


def idle_worker(stack: Stack) -> Any:
    async def is_paused() -> bool:
        return any(worker["paused"] for worker in await stack.queue.workers())

    return eventually(is_paused, what="a worker that says it is paused")


@asynccontextmanager
async def backed_up(folder: Path) -> AsyncIterator[Stack]:
    """A stack whose backup holds an ended, a sent-but-unanswered, a waiting and a scheduled task."""
    publisher = PublisherDouble()
    async with everpost_stack(folder=folder, durable=True, publisher=publisher, max_jobs=1) as stack:
        await stack.wait_until_ended(await stack.publish(title="ended"))
        publisher.hold()
        await stack.publish(title="sending")

        async def is_sending() -> bool:
            return len(publisher.attempts) == 2

        await eventually(is_sending, what="the second attempt")
        await stack.publish(title="waiting")
        await stack.publish(title="scheduled", schedule_time=to_text(system_clock() + HOUR_MS))
        await back_up(stack)
        publisher.release()
        yield stack


async def test_a_restored_stack_accepts_tasks_and_sends_none_until_it_is_resumed(tmp_path: Path) -> None:
    async with backed_up(tmp_path):
        pass
    shutil.rmtree(tmp_path / "valkey")
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        await stack.publish(title="new")
        assert await statuses(stack) == {
            "ended": "success",
            "sending": "unknown",
            "waiting": "pending",
            "scheduled": "scheduled",
            "new": "pending",
        }
        dispatch = (await stack.client.get("/api/v1/dispatch")).json()
        pause = dispatch["pause"]
        assert (dispatch["paused"], dispatch["held"]) == (True, 1)
        assert (pause["ended"], pause["sending"], pause["held"], pause["scheduled"]) == (2, 1, 1, 1)
        assert (await checks(stack))["dispatch"]["ok"] is False
        assert "1 are held" in (await checks(stack))["dispatch"]["detail"]
        await stack.stop_workers()
        await stack.start_worker()
        await idle_worker(stack)
        assert stack.publisher.attempts == []

        assert await resume(stack) == {"pause": pause, "succeeded": 0, "unknown": 1, "released": 0, "recovered": 0}
        await stack.wait_until_ended((await stack.sql("SELECT task_id FROM task_queue WHERE title = 'new'"))[0][0])
        assert (await statuses(stack))["waiting"] == "unknown"
        assert (await statuses(stack))["scheduled"] == "scheduled"
        assert [job.data["title"] for job in stack.publisher.attempts] == ["new"]
        assert (await checks(stack))["dispatch"]["ok"] is True
        assert (await resume(stack))["pause"] is None


async def test_held_tasks_run_when_somebody_says_so(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        task_id = await stack.publish(title="waiting")
        await back_up(stack)
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        for verb in ("retry", "cancel"):
            refused = await stack.client.post(f"/api/v1/tasks/{verb}/{task_id}", params={"force": "true"})
            assert (refused.status_code, refused.json()["code"]) == (409, "task_held")
        assert (await resume(stack, unfinished="run", dry_run=True))["released"] == 1
        assert (await checks(stack))["dispatch"]["ok"] is False
        assert (await resume(stack, unfinished="run"))["released"] == 1
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        assert stack.publisher.times_published(task_id) == 1


async def test_a_redis_newer_than_the_backup_tells_what_became_of_tasks_and_of_which_it_has_not_heard(
    tmp_path: Path,
) -> None:
    async with backed_up(tmp_path) as stack:
        later = await stack.publish(title="later")
        await stack.wait_until_ended(later)
        await stack.stop_workers()
        await stack.publish(title="queued")
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        foreseen = await resume(stack, dry_run=True)
        assert (foreseen["succeeded"], foreseen["unknown"], foreseen["recovered"]) == (1, 0, 2)
        assert await resume(stack) == foreseen
        assert await statuses(stack) == {
            "ended": "success",
            "sending": "unknown",
            "waiting": "success",
            None: "success",  # the later one: a success's result has no data
            "queued": "unknown",
            "scheduled": "scheduled",
        }
        assert ((await stack.task(later))["status"], (await stack.task(later))["provider_post_id"]) == (
            "success",
            "post-4",
        )
        await stack.publish(title="new")
        await eventually(lambda: is_published(stack, "new"), what="the new task")
        assert [job.data["title"] for job in stack.publisher.attempts] == ["new"]


async def is_published(stack: Stack, title: str) -> bool:
    return any(job.data["title"] == title for job in stack.publisher.published)


async def test_without_redis_dispatch_stays_paused_because_redis_may_know_better(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.publish()
        await back_up(stack)
    async with restored(tmp_path, workers=0) as stack:
        assert stack.valkey.child is not None
        await stack.valkey.child.stop()
        answer = await stack.client.post(RESUME)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_unreachable")
        assert (await stack.client.get("/api/v1/dispatch")).json()["held"] == 1
        await stack.valkey.start()

        async def resumed() -> Any:
            answer = await stack.client.post(RESUME)
            return answer.json().get("resumed")  # none until the API has found out that Redis is back

        assert (await eventually(resumed, what="dispatch"))["unknown"] == 1


async def test_bulk_work_of_the_backup_is_not_done_a_second_time(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.execute(
            "INSERT INTO operations (operation_id, kind, request, status, total, created_at, updated_at) "
            "VALUES ('o', 'retry', '{}', 'running', 9, '2026', '2026')"
        )
        await back_up(stack)
    async with restored(tmp_path, workers=0) as stack:
        assert await stack.sql("SELECT status, owner FROM operations") == [("failed", None)]


async def test_nothing_is_restored_while_a_process_has_the_database_open(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.publish()
        await back_up(stack)
        before = (tmp_path / "everpost.db").stat()
        with pytest.raises(DatabaseUnusable, match="stop the API"):
            restore(tmp_path)
        (tmp_path / "everpost.db").rename(tmp_path / "moved.db")  # and also when its file has gone
        with pytest.raises(DatabaseUnusable, match="stop the API"):
            restore(tmp_path)
        (tmp_path / "moved.db").rename(tmp_path / "everpost.db")
        assert os.path.samestat(before, (tmp_path / "everpost.db").stat())
    restore(tmp_path)


def left_over(folder: Path, *marks: str) -> list[str]:
    """What a restore that failed should not have left, or files of these marks."""
    marks = marks or ("part", ".replaced")
    return [file.name for file in folder.iterdir() if any(mark in file.name for mark in marks)]


def content(name: str) -> bytes:
    return Path(name).read_bytes()


async def make_backup(folder: Path) -> None:
    database = await Database.open(folder / "everpost.db")
    await database.close()
    back_up_database(folder / "everpost.db", folder / "backup.db")


async def test_nothing_is_restored_while_another_program_reads_the_file(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    with foreign_reader(tmp_path / "everpost.db"), pytest.raises(DatabaseUnusable, match="stop the API"):
        restore(tmp_path)


@contextmanager
def foreign_reader(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path)
    try:
        connection.execute("SELECT * FROM everpost_meta").fetchall()
        yield
    finally:
        connection.close()


async def test_nobody_opens_the_database_while_it_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_backup(tmp_path)
    refusals: list[Exception] = []

    def open_meanwhile(source: Path, partial: Path) -> None:
        with pytest.raises(DatabaseBusy) as refused:
            asyncio.run(Database.open(tmp_path / "everpost.db"))
        refusals.append(refused.value)
        shutil.copy(source, partial)

    monkeypatch.setattr("everpost.store.sqlite.care.restore.copy_database", open_meanwhile)
    await asyncio.to_thread(restore, tmp_path)
    assert len(refusals) == 1


async def test_the_replaced_file_is_kept_with_all_that_was_in_its_log(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    path = tmp_path / "everpost.db"
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO everpost_meta VALUES ('last', 'words')")
    connection.commit()
    for name in (
        "everpost.db",
        "everpost.db-wal",
    ):  # as a process killed leaves them: not in the database but beside it
        shutil.copy(tmp_path / name, tmp_path / f"crashed-{name}")
    connection.close()
    for name in ("everpost.db", "everpost.db-wal"):
        shutil.move(tmp_path / f"crashed-{name}", tmp_path / name)
    replaced = restore(tmp_path).replaced
    assert replaced is not None
    with sqlite3.connect(replaced) as kept:
        assert kept.execute("SELECT value FROM everpost_meta WHERE key = 'last'").fetchall() == [("words",)]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT value FROM everpost_meta WHERE key = 'last'").fetchall() == []
    kept.close()
    database.close()


async def test_a_damaged_database_is_replaced_and_its_log_does_not_reach_the_new_one(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    (tmp_path / "everpost.db").write_bytes(b"no database" * 1_000)
    (tmp_path / "everpost.db-wal").write_bytes(b"no log" * 1_000)
    replaced = restore(tmp_path).replaced
    assert content(f"{replaced}").startswith(b"no database")
    assert left_over(tmp_path, ".db-") == []
    database = await Database.open(tmp_path / "everpost.db")
    await database.close()


async def test_a_database_that_is_gone_is_restored(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    target = tmp_path / "new" / "folder" / "everpost.db"
    assert restore_database(tmp_path / "backup.db", target, system_clock()).replaced is None
    assert [file.name for file in target.parent.iterdir()] == ["everpost.db"]


def write_words(path: Path) -> None:
    path.write_bytes(b"words, words, words" * 500)


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)


def empty(path: Path) -> None:
    path.unlink()
    sqlite3.connect(path).close()


@pytest.mark.parametrize(
    "spoil", [write_words, damage, make_original, empty, Path.unlink], ids=lambda spoil: spoil.__name__
)
async def test_a_backup_that_is_none_changes_nothing(tmp_path: Path, spoil: Any) -> None:
    await make_backup(tmp_path)
    if spoil is make_original:
        (tmp_path / "backup.db").unlink()
    spoil(tmp_path / "backup.db")
    before = (tmp_path / "everpost.db").read_bytes()
    with pytest.raises(DatabaseUnusable, match="backup"):
        restore(tmp_path)
    assert (tmp_path / "everpost.db").read_bytes() == before
    assert left_over(tmp_path) == []


async def test_a_database_is_no_backup_of_itself(tmp_path: Path) -> None:
    await make_backup(tmp_path)
    with pytest.raises(DatabaseUnusable, match="no backup"):
        restore_database(tmp_path / "everpost.db", tmp_path / "everpost.db", system_clock())


async def test_a_restore_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_backup(tmp_path)

    def fill_up(source: Path, partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = (tmp_path / "everpost.db").read_bytes()
    monkeypatch.setattr("everpost.store.sqlite.care.restore.copy_database", fill_up)
    with pytest.raises(DatabaseUnwritable, match="No space"):
        restore(tmp_path)
    assert (tmp_path / "everpost.db").read_bytes() == before
    assert left_over(tmp_path) == []
