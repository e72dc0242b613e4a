"""The contract of `files`: records, uploads, quota, and which tasks use which file."""

import asyncio
from typing import Any

import pytest

from everpost.clock import to_text
from everpost.store import Store
from everpost.store.files import (
    PENDING,
    PUBLISHED,
    UPLOADS,
    FileRecord,
    QuotaExceededError,
    UnknownFileError,
    Upload,
    UploadGoneError,
    Usage,
)
from everpost.task.model import TaskStatus
from store_contract.making import key_of, once_of
from store_contract.test_changes import NOW_MS, WITHDRAWN, cancel_of, resolve_of
from store_rows import START_MS, accept, add_ended, end, make_task, retry_as

ENDED_AT = to_text(START_MS + 1_000)
LATER, MUCH_LATER = to_text(START_MS + 5_000), to_text(START_MS + 10**9)


def file_id_of(number: int) -> str:
    return f"{number:032x}"


def record_of(number: int, /, **changed: Any) -> FileRecord:
    values: dict[str, Any] = {
        "file_id": file_id_of(number),
        "root": UPLOADS,
        "file_path": f"{number}.mp4",
        "filename": "视频.mp4",
        "size_bytes": 1_000,
        "sha256": "ab" * 32,
        "content_type": "video/mp4",
        "changed_ns": 1_790_000_000_123_456_789,
        "created_at": to_text(START_MS),
    }
    return FileRecord(**values | changed)


def upload_of(number: int, **changed: Any) -> Upload:
    values: dict[str, Any] = {
        "file_id": file_id_of(number),
        "filename": "视频.mp4",
        "size_bytes": 1_000,
        "metadata": "filename 6KeG",
        "created_at": to_text(START_MS),
        "expires_at": LATER,
    }
    return Upload(**values | changed)


async def add_upload(store: Store, number: int, **changed: Any) -> FileRecord:
    """A complete uploaded file."""
    await store.files.begin_upload(upload_of(number), 0)
    return await store.files.keep(record_of(number, **changed))


async def the_file(store: Store, number: int = 1) -> FileRecord:
    return (await store.files.find([file_id_of(number)]))[file_id_of(number)]


async def test_a_record_is_found_as_it_was_kept(store: Store) -> None:
    kept = await add_upload(store, 1, width=1920, height=1080, duration=12.5)
    assert kept == record_of(1, width=1920, height=1080, duration=12.5, number=kept.number)
    assert await store.files.find([file_id_of(1), file_id_of(2), "", "no\0id"]) == {file_id_of(1): kept}
    assert await store.files.find_upload(file_id_of(1)) is None


async def test_a_file_has_the_name_of_who_uploaded_it(store: Store) -> None:
    upload = upload_of(1, submitted_by="mei")
    await store.files.begin_upload(upload, 0)
    assert await store.files.find_upload(file_id_of(1)) == upload
    kept = await store.files.keep(record_of(1, submitted_by="mei"))
    assert kept.submitted_by == "mei"
    for number in (2, 3):
        await add_upload(store, number, submitted_by=None if number == 2 else "shop")
    await store.files.keep(record_of(4, root="folder"))
    pages = [await store.files.page(None, 10, name) for name in (None, "mei", "no")]
    assert [[int(one.file_id, 16) for one in page] for page in pages] == [[4, 3, 2, 1], [4, 1], [4]]
    await store.files.begin_upload(upload_of(5, submitted_by="mei"), 0)
    assert await store.files.take_expired_uploads(MUCH_LATER, 9) == [upload_of(5, submitted_by="mei")]


async def test_users_of_a_file_are_those_that_a_scope_reaches(store: Store) -> None:
    await add_upload(store, 1)
    accounts = {"a": ("douyin", "x"), "b": ("douyin", "y"), "c": ("bilibili", "x")}
    tasks = [
        make_task(task_id, file_ids=(file_id_of(1),), platform=platform, account_id=account_id)
        for task_id, (platform, account_id) in accounts.items()
    ]
    await accept(store, *tasks)
    for reach, users in ((None, "abc"), ((), ""), (("douyin",), "ab"), (("douyin\ny", "bilibili"), "bc"), (("x",), "")):
        assert sorted(await store.files.users(file_id_of(1), reach)) == list(users)


async def test_a_record_that_is_kept_twice_is_one_record(store: Store) -> None:
    kept = await add_upload(store, 1)
    assert await store.files.keep(record_of(1, filename="other")) == kept
    assert len(await store.files.page(None, 10)) == 1


async def test_a_file_whose_upload_was_removed_gets_no_record(store: Store) -> None:
    await store.files.begin_upload(upload_of(1), 0)
    assert await store.files.abandon_upload(file_id_of(1))
    assert not await store.files.abandon_upload(file_id_of(1))
    with pytest.raises(UploadGoneError):
        await store.files.keep(record_of(1))
    assert await store.files.page(None, 10) == []


async def test_an_upload_is_kept_extended_and_expires(store: Store, other: Store) -> None:
    await store.files.begin_upload(upload_of(1, size_bytes=None), 0)
    assert await other.files.find_upload(file_id_of(1)) == upload_of(1, size_bytes=None)
    assert await store.files.extend_upload(upload_of(1, expires_at=MUCH_LATER), 0)
    assert not await store.files.extend_upload(upload_of(2), 0)
    assert await other.files.find_upload(file_id_of(1)) == upload_of(1, expires_at=MUCH_LATER)
    await store.files.begin_upload(upload_of(2), 0)
    assert await store.files.take_expired_uploads(LATER, 10) == []
    assert await store.files.take_expired_uploads(to_text(START_MS + 6_000), 10) == [upload_of(2)]
    assert await other.files.find_upload(file_id_of(2)) is None


async def test_the_quota_counts_files_and_uploads(store: Store) -> None:
    await add_upload(store, 1)
    await store.files.begin_upload(upload_of(2), 2_000)
    assert await store.files.usage() == Usage(1, 1_000, 1, 1_000)
    with pytest.raises(QuotaExceededError):
        await store.files.begin_upload(upload_of(3, size_bytes=1), 2_000)
    await store.files.begin_upload(upload_of(3, size_bytes=None), 2_000)
    with pytest.raises(QuotaExceededError):
        await store.files.extend_upload(upload_of(3), 2_000)
    with pytest.raises(QuotaExceededError):
        await store.files.keep(record_of(3), 2_000)
    assert await store.files.find_upload(file_id_of(3)) is not None
    assert (await store.files.keep(record_of(2), 2_000)).size_bytes == 1_000


async def test_uploads_at_once_do_not_exceed_the_quota_together(store: Store, other: Store) -> None:
    begun = (each.files.begin_upload(upload_of(n), 3_000) for n, each in enumerate([store, other] * 5))
    answers = await asyncio.gather(*begun, return_exceptions=True)
    assert sum(answer is None for answer in answers) == 3


async def test_files_are_listed_page_by_page_the_newest_first(store: Store) -> None:
    for number in range(5):
        await add_upload(store, number)
    first = await store.files.page(None, 3)
    rest = await store.files.page(first[-1].number, 3)
    assert [record.file_id for record in [*first, *rest]] == [file_id_of(number) for number in (4, 3, 2, 1, 0)]


async def test_a_file_is_in_use_while_a_task_that_names_it_is_unfinished(store: Store, other: Store) -> None:
    await add_upload(store, 1)
    await accept(store, make_task("a", file_ids=(file_id_of(1),)), make_task("b"))
    assert await other.files.users(file_id_of(1)) == ["a"]
    assert (await other.files.remove(file_id_of(1))).users == ["a"]
    await store.changes.apply(cancel_of("a"), NOW_MS)
    assert await other.files.users(file_id_of(1)) == []
    removed = await other.files.remove(file_id_of(1))
    assert removed.record is not None
    assert removed.record.file_id == file_id_of(1)
    assert await other.files.remove(file_id_of(1)) == type(removed)(None)


@pytest.mark.parametrize("with_key", [False, True])
async def test_a_task_that_names_a_missing_file_is_not_accepted(store: Store, *, with_key: bool) -> None:
    await add_upload(store, 1)
    once = once_of() if with_key else None
    tasks = [make_task("a", file_ids=(file_id_of(1),)), make_task("b", file_ids=(file_id_of(9),))]
    with pytest.raises(UnknownFileError) as missing:
        await store.ledger.accept(tasks, START_MS, once)
    assert missing.value.file_id == file_id_of(9)
    assert await store.ledger.count_unfinished() == 0
    assert await store.files.users(file_id_of(1)) == []
    assert await store.ledger.find_answer(key_of()) is None
    assert await store.ledger.accept([make_task("a", file_ids=(file_id_of(1),))], START_MS, once) is None
    second = once_of(answer="second") if with_key else None
    again = await store.ledger.accept([make_task("c", file_ids=(file_id_of(1),))], START_MS, second)
    assert again == (once_of().answer if with_key else None)
    assert await store.files.users(file_id_of(1)) == (["a"] if with_key else ["a", "c"])


async def test_an_id_of_the_clients_own_is_accepted_and_not_in_use(store: Store) -> None:
    await accept(store, make_task("a", file_ids=("123",)))
    assert await store.files.users("123") == []


async def test_a_removal_and_a_task_at_once_never_leave_a_task_without_its_file(store: Store, other: Store) -> None:
    for number in range(10):
        await add_upload(store, number)
        task = make_task(f"task{number}", file_ids=(file_id_of(number),))
        accepted, removed = await asyncio.gather(
            store.ledger.accept([task], START_MS), other.files.remove(file_id_of(number)), return_exceptions=True
        )
        assert not isinstance(removed, BaseException)
        was_removed = removed.record is not None
        assert isinstance(accepted, UnknownFileError) == was_removed


async def test_a_success_marks_the_files_of_its_task(store: Store) -> None:
    await add_upload(store, 1)
    assert (await the_file(store)).status == PENDING
    named: dict[str, Any] = {"file_ids": (file_id_of(1),)}
    await add_ended(store, make_task("a", account_id="one", **named), status=TaskStatus.SUCCESS, **named)
    await add_ended(store, make_task("b", account_id="two", **named), status=TaskStatus.SUCCESS, **named)
    await add_ended(store, make_task("c", account_id="one", **named), status=TaskStatus.SUCCESS, **named)
    await add_ended(store, make_task("d", account_id="three", **named), status=TaskStatus.FAILED, **named)
    file = await the_file(store)
    assert (file.status, file.last_platform, file.last_accounts) == (PUBLISHED, "douyin", '["two","one"]')
    assert file.published_at == file.used_at == ENDED_AT
    assert await store.files.users(file_id_of(1)) == []


async def test_a_failure_leaves_the_file_unpublished(store: Store) -> None:
    await add_upload(store, 1)
    await accept(store, make_task("a", file_ids=(file_id_of(1),)))
    await end(store, "a", status=TaskStatus.FAILED, file_ids=(file_id_of(1),))
    file = await the_file(store)
    assert (file.status, file.published_at, file.used_at) == (PENDING, None, ENDED_AT)


async def test_a_decision_that_an_unknown_task_succeeded_marks_its_files(store: Store) -> None:
    await add_upload(store, 1)
    task = make_task("a", file_id=file_id_of(1), file_ids=(file_id_of(1),))
    await add_ended(store, task, status=TaskStatus.UNKNOWN, file_ids=(file_id_of(1),))
    assert (await the_file(store)).status == PENDING
    await store.changes.apply(resolve_of("a"), NOW_MS)
    file = await the_file(store)
    assert (file.status, file.last_platform, file.last_accounts) == (PUBLISHED, "douyin", '["a"]')


async def test_retries_and_adopted_jobs_use_the_files_of_their_tasks(store: Store) -> None:
    await add_upload(store, 1)
    named: dict[str, Any] = {"file_ids": (file_id_of(1),)}
    await add_ended(store, make_task("a", **named), **named)
    retry = retry_as({"a": make_task("b", created_at_ms=NOW_MS, **named)}, WITHDRAWN)
    await store.changes.apply(retry, NOW_MS)
    await store.ledger.adopt([make_task("adopted", **named)], START_MS)
    assert sorted(await store.files.users(file_id_of(1))) == ["adopted", "b"]


async def test_uses_that_have_ended_are_forgotten_and_noted(store: Store) -> None:
    await add_upload(store, 1)
    await accept(store, make_task("a", file_ids=(file_id_of(1),)), make_task("b", file_ids=(file_id_of(1),)))
    await store.changes.apply(cancel_of("a"), NOW_MS)
    assert await store.files.forget_uses(LATER, 10) == 1
    assert await store.files.forget_uses(MUCH_LATER, 10) == 0
    assert (await the_file(store)).used_at == LATER
    assert await store.files.users(file_id_of(1)) == ["b"]


async def test_only_unused_uploads_are_taken(store: Store) -> None:
    for number in (1, 2, 3):
        await add_upload(store, number)
    await store.files.keep(record_of(4, root="shared"))
    await accept(store, make_task("a", file_ids=(file_id_of(1),)))
    await add_ended(store, make_task("b"), file_ids=(file_id_of(2),))
    before = to_text(START_MS + 500)
    assert [record.file_id for record in await store.files.take_unused(before, 10)] == [file_id_of(3)]
    assert await store.files.take_unused(before, 10) == []
    assert [record.file_id for record in await store.files.take_unused(LATER, 10)] == [file_id_of(2)]
    assert {record.file_id for record in await store.files.page(None, 10)} == {file_id_of(1), file_id_of(4)}


async def test_a_file_of_a_folder_keeps_its_id_when_it_changes(store: Store) -> None:
    await store.files.set_root("shared", "/srv/old")
    await store.files.set_root("shared", "/srv/media")
    assert await store.files.roots() == {"shared": "/srv/media"}
    first = await store.files.keep(record_of(1, root="shared", file_path="a/视频.mp4"))
    changed = await store.files.keep(record_of(2, root="shared", file_path="a/视频.mp4", sha256="cd" * 32))
    assert (changed.file_id, changed.sha256) == (first.file_id, "cd" * 32)
    assert await store.files.find_placed("shared", ["a/视频.mp4", "b"]) == {"a/视频.mp4": changed}
    long_path = "x" * 4_000
    assert (await store.files.keep(record_of(3, root="shared", file_path=long_path))).file_path == long_path


async def test_a_folder_is_forgotten_with_its_records_except_those_in_use(store: Store) -> None:
    await store.files.set_root("shared", "/srv/media")
    for number in (1, 2):
        await store.files.keep(record_of(number, root="shared"))
    await add_upload(store, 3)
    await accept(store, make_task("a", file_ids=(file_id_of(2),)))
    await store.files.set_root("shared", None)
    assert await store.files.roots() == {}
    assert [record.file_id for record in await store.files.page(None, 10)] == [file_id_of(3), file_id_of(2)]


async def test_a_new_store_has_no_inherited_records(store: Store) -> None:
    await add_upload(store, 1)
    assert not await store.files.has_inherited()
