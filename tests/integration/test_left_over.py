"""Outcomes that were left over: taken in once, by whichever worker, in whichever state the database is."""

from pathlib import Path
from typing import Any

import pytest

from everpost.publishing import AuthError, PublisherClass
from everpost.task.model import TaskRecord, TaskStatus
from everpost.task.place import Place
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from everpost_workers.ends.leftovers import UNREADABLE, LeftoverFiles
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")


def success(task_id: str, **fields: Any) -> TaskRecord:
    return TaskRecord(task_id=task_id, status=TaskStatus.SUCCESS, finished_at_ms=1, provider_post_id="p", **fields)


async def left_to_the_next_worker(stack: Stack, *records: TaskRecord) -> LeftoverFiles:
    """Have a worker that starts find these, and wait until it has taken them in."""
    await stack.stop_workers()
    files = LeftoverFiles(stack.settings.database_path)
    files.save(list(records), [])
    await stack.start_worker()

    async def taken_in() -> bool:
        return not files.folder.exists()

    await eventually(taken_in, what="the end of the file")
    return files


async def test_a_task_whose_outcome_was_left_over_ends_with_it_and_is_not_sent_again() -> None:
    async with everpost_stack() as stack:
        await stack.stop_workers()
        task_id = await stack.publish()
        assert await stack.store.ledger.begin_send(task_id, 1, 1)
        await left_to_the_next_worker(stack, success(task_id))
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["provider_post_id"]) == ("success", "p")
        await left_to_the_next_worker(stack, success(task_id))  # as if two workers had taken it in
        assert (await stack.task(task_id))["status"] == "success"
    assert stack.publisher.attempts == []


async def test_a_restored_database_learns_of_posts_it_has_no_row_of() -> None:
    async with everpost_stack() as stack:
        data = b'{"platform":"douyin","account_id":"a","title":"t"}'
        await left_to_the_next_worker(stack, success("f" * 32, task_data=data))
        task = await stack.task("f" * 32)
    assert (task["status"], task["platform"], task["task_data"]["title"]) == ("success", "douyin", "t")


async def test_a_task_that_the_database_lost_while_it_ran_ends_with_its_data_and_can_be_retried() -> None:
    async with everpost_stack() as stack:

        async def attempted() -> bool:
            return bool(stack.publisher.attempts)

        stack.publisher.hold()
        task_id = await stack.publish(title="lost")
        await eventually(attempted, what="the attempt")
        kit_of(stack.settings).remove(Place.LEDGER, task_id)
        stack.publisher.fail_next(AuthError("sign in again"))
        stack.publisher.release()
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["task_data"]["title"]) == ("failed", "lost")
        retried = await stack.wait_until_ended(await stack.retry(task_id))
    assert (retried["status"], retried["task_data"]) == ("success", task["task_data"])


async def test_a_file_that_cannot_be_read_is_set_aside_and_holds_up_nothing() -> None:
    contents = {"a": b"{", "b": b"[]", "c": b"\xff", "d": b""}
    async with everpost_stack(workers=0) as stack:
        folder = LeftoverFiles(stack.settings.database_path).folder
        folder.mkdir()
        for name, content in contents.items():
            (folder / f"{name}.json").write_bytes(content)
        await stack.start_worker()
        task = await stack.wait_until_ended(await stack.publish())
        assert task["status"] == "success"
        assert sorted(path.name for path in folder.iterdir()) == [f"{name}{UNREADABLE}" for name in contents]


async def test_a_task_whose_worker_left_its_outcome_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("everpost_workers.publish_worker.LEFTOVERS_S", 3600.0)  # only the claim looks for it
    async with everpost_stack(workers=0, publisher=PublisherDouble(PublisherClass.KEYED)) as stack:
        task_id = await stack.publish()
        redis = stack.queue.redis
        await redis.set(f"arq:retry:{task_id}", 1)
        await redis.set(f"arq:in-progress:{task_id}", "a worker that died", px=3_000)
        await stack.start_worker()
        assert (await stack.wait_until_ended(await stack.publish()))["status"] == "success"
        failed = TaskRecord(task_id=task_id, status=TaskStatus.FAILED, finished_at_ms=1, error_message="no")
        LeftoverFiles(stack.settings.database_path).save([failed], [])
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["error_message"]) == ("failed", "no")
        assert stack.publisher.times_published(task_id) == 0


async def test_outcomes_the_database_refuses_keep_no_worker_from_its_start_and_hold_up_no_others() -> None:
    async with everpost_stack(workers=0) as stack:
        files = LeftoverFiles(stack.settings.database_path)
        task_id = await stack.publish()
        refused = files.save([TaskRecord(task_id="a" * 32, status=TaskStatus.SUCCESS, finished_at_ms=2**62)], [])
        refused = refused.rename(refused.with_name("0.json"))  # before the other
        (files.folder / "1.json").mkdir()
        taken = files.save([success(task_id)], [])
        await stack.start_worker()
        assert (await stack.wait_until_ended(task_id))["provider_post_id"] == "p"

        async def is_forgotten() -> bool:  # once it is recorded
            return not taken.exists()

        await eventually(is_forgotten, what="the end of the file that was taken in")
        assert refused.exists()
    assert stack.publisher.attempts == []


def test_two_workers_that_take_in_the_same_file_both_go_on(tmp_path: Path) -> None:
    files = LeftoverFiles(tmp_path / "everpost.db")
    path = files.save([success("a")], [])
    files.forget(path)
    files.forget(path)


def test_outcomes_are_kept_while_another_worker_removes_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LeftoverFiles(tmp_path / "everpost.db")
    mkdir, made = Path.mkdir, []

    def removed_once(folder: Path, **options: Any) -> None:
        mkdir(folder, **options)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", removed_once)
    assert files.save([success("a")], []).exists()


def test_a_file_is_open_to_its_owner_alone(tmp_path: Path) -> None:
    files = LeftoverFiles(tmp_path / "everpost.db")
    path = files.save([success("a")], [])
    assert (files.folder.stat().st_mode & 0o077, path.stat().st_mode & 0o077) == (0, 0)
    files.forget(path)
    assert not files.folder.exists()
