"""Media: uploaded files, the tasks that name them, and what becomes of both."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_support import assert_problem
from everpost.files.folders import Step, scan_folder
from everpost.files.upkeep import FilesUpkeep
from everpost.publishing import PublishJob
from everpost.testing import Stack, everpost_stack
from media_samples import png, wav

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

FILES = "/api/v1/files"


PNG = png(30, 20)


async def upload(stack: Stack, content: bytes, filename: str = "a.png") -> dict[str, Any]:
    answer = await stack.client.post(FILES, content=content, params={"filename": filename})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{FILES}/{answer.json()['file_id']}"
    data: dict[str, Any] = answer.json()["data"]
    return data


async def show(stack: Stack, file_id: str) -> dict[str, Any]:
    answer = await stack.client.get(f"{FILES}/{file_id}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def refused(stack: Stack, **fields: Any) -> httpx.Response:
    return await stack.client.post("/api/v1/publish", json={"platform": "douyin", "account_id": "a", **fields})


def content_of(job: PublishJob) -> list[bytes]:
    contents = []
    for media in job.files:
        with media.open_file() as file:
            contents.append(file.read())
    return contents


async def test_an_uploaded_file_is_published_with_the_task_that_names_it_and_is_marked(everpost: Stack) -> None:
    file = await upload(everpost, PNG, "../../测试\u202e.png")
    assert (file["filename"], file["content_type"], file["size_bytes"]) == ("测试.png", "image/png", len(PNG))
    assert (file["width"], file["height"], file["status"]) == (30, 20, "pending")
    assert file["sha256"] == hashlib.sha256(PNG).hexdigest()
    task_id = await everpost.publish(account_id="shop", file_id=file["file_id"])
    task = await everpost.wait_until_ended(task_id)
    assert (task["status"], task["result"]) == ("success", {"media": "测试.png"})
    (job,) = everpost.publisher.published
    assert job.media is not None
    assert (job.media.file_id, job.media.sha256, job.media.facts.width) == (file["file_id"], file["sha256"], 30)
    assert content_of(job) == [PNG]
    shown = await show(everpost, file["file_id"])
    assert (shown["status"], shown["last_platform"], shown["last_accounts"]) == ("published", "xiaohongshu", ["shop"])
    assert (shown["published_at"], shown["used_by"]) == (task["completed_at"], [])


async def test_a_task_has_several_files_in_order_with_their_descriptions(everpost: Stack) -> None:
    sound = await upload(everpost, wav(1.5), "s.wav")
    assert sound["duration_s"] == pytest.approx(1.5, abs=0.01)
    picture = await upload(everpost, PNG)
    media = everpost.settings.media_root
    media.mkdir(parents=True)
    (media / "c.txt").write_text("text")
    files = [
        {"file_id": picture["file_id"], "alt": "A grey box"},
        {"file_path": "c.txt"},
        {"file_id": sound["file_id"]},
    ]
    task = await everpost.wait_until_ended(await everpost.publish(files=files))
    assert (task["status"], task["result"]) == ("success", {"media": "a.png and 2 more"})
    (job,) = everpost.publisher.published
    assert content_of(job) == [PNG, b"text", wav(1.5)]
    assert [each.alt for each in job.files] == ["A grey box", None, None]
    assert job.media == job.files[0]


NO_FILES_OF_OURS: Sequence[Any] = (
    ({"file_id": "0" * 32}, "unknown_file", "$.file_id"),
    ({"files": [{"file_path": "a"}, {"file_id": "f" * 32}]}, "unknown_file", "$.files[1].file_id"),
    ({"files": [{"alt": "nothing"}]}, "invalid_value", "$.files[0]"),
    ({"files": [{"file_path": "a"}], "file_id": 1}, "invalid_value", "$.files"),
    ({"files": "a.mp4"}, "invalid_value", "$.files"),
    ({"files": [{"file_id": [1]}]}, "invalid_value", "$.files[0].file_id"),
)


async def test_a_task_that_names_no_file_of_ours_is_refused(everpost: Stack) -> None:
    for fields, code, path in NO_FILES_OF_OURS:
        assert_problem(await refused(everpost, **fields), 422, code, path)
        task = {"platform": 3, "account_id": "a", **fields}
        answer = await everpost.client.post("/api/v1/publish/batch", json=[task])
        assert answer.json()["results"][0]["path"] == f"$[0]{path[1:]}"


async def test_a_file_in_use_is_not_deleted(everpost: Stack) -> None:
    file = await upload(everpost, PNG)
    place = f"{FILES}/{file['file_id']}"
    everpost.publisher.hold()
    task_id = await everpost.publish(file_id=file["file_id"])
    assert assert_problem(await everpost.client.delete(place), 409, "file_in_use")["task_ids"] == [task_id]
    assert (await show(everpost, file["file_id"]))["used_by"] == [task_id]
    everpost.publisher.release()
    await everpost.wait_until_ended(task_id)
    assert (await everpost.client.delete(place)).status_code == 200
    assert_problem(await everpost.client.get(place), 404, "file_not_found")
    assert_problem(await everpost.client.delete(place), 404, "file_not_found")
    assert list(everpost.settings.files_root.iterdir()) == []


async def test_a_missing_or_changed_file_is_seen_at_submit_and_at_use() -> None:
    told = ("not found", "bytes now", "not the same")
    async with everpost_stack(workers=0) as stack:
        files = [await upload(stack, PNG) for _ in told]
        tasks = [await stack.publish(file_id=file["file_id"]) for file in files]
        missing, longer, other = [stack.settings.files_root / f"{file['file_id']}.png" for file in files]
        missing.unlink()
        longer.write_bytes(PNG + b"more")
        other.write_bytes(b"x" * len(PNG))
        for file, words in zip(files, told, strict=True):
            problem = assert_problem(await refused(stack, file_id=file["file_id"]), 422, "invalid_value", "$.file_id")
            assert words in problem["detail"]
        await stack.start_worker()
        for task_id, words in zip(tasks, told, strict=True):
            task = await stack.wait_until_ended(task_id)
            assert (task["status"], task["error_class"]) == ("failed", "invalid"), task
            assert words in task["error_message"]


async def test_touching_a_file_changes_nothing(everpost: Stack) -> None:
    file = await upload(everpost, PNG)
    os.utime(everpost.settings.files_root / f"{file['file_id']}.png", (1, 1))
    task = await everpost.wait_until_ended(await everpost.publish(file_id=file["file_id"]))
    assert task["status"] == "success"


async def test_a_form_is_read_as_curl_sends_it(everpost: Stack) -> None:
    form: dict[str, Any] = {"title": (None, "t"), "file": ("../b/猫.png", PNG, "text/plain")}
    answer = await everpost.client.post(FILES, files=form)
    data = answer.json()["data"]
    assert (answer.status_code, data["filename"], data["content_type"]) == (201, "猫.png", "image/png")
    two = [("file", ("a.png", PNG)), ("file", ("b.png", PNG))]
    assert_problem(await everpost.client.post(FILES, files=two), 422, "invalid_value")
    assert_problem(await everpost.client.post(FILES, files={"title": (None, "t")}), 422, "invalid_value")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert_problem(await everpost.client.post(FILES, content=b"--y\r\n", headers=broken), 400, "bad_input")
    cut = b'--x\r\ncontent-disposition: form-data; name="f"; filename="a"\r\n\r\nabc'
    assert_problem(await everpost.client.post(FILES, content=cut, headers=broken), 400, "bad_input")
    assert len(list(everpost.settings.files_root.iterdir())) == 1


async def test_limits_refuse_a_file_and_leave_nothing_of_it() -> None:
    async with everpost_stack(max_media=200, files_quota=250, workers=0) as stack:
        assert_problem(await stack.client.post(FILES, content=b"x" * 201), 413, "body_too_large")
        assert_problem(await stack.client.post(FILES, content=b""), 422, "invalid_value")
        await upload(stack, b"x" * 200)
        problem = assert_problem(await stack.client.post(FILES, content=b"x" * 51), 507, "quota_exceeded")
        assert "EVERPOST_FILES_QUOTA" in problem["detail"]

        async def unknown_length() -> Any:
            yield b"x" * 51

        assert_problem(await stack.client.post(FILES, content=unknown_length()), 507, "quota_exceeded")
        assert len(list(stack.settings.files_root.iterdir())) == 1
        usage = (await stack.client.get(FILES)).json()["usage"]
        assert usage == {"files": 1, "size_bytes": 200, "uploads": 0, "upload_bytes": 0, "quota_bytes": 250}


async def test_a_full_disk_refuses_a_file_and_leaves_nothing_of_it() -> None:
    async with everpost_stack(min_free_disk=1 << 60, workers=0) as stack:
        answer = await stack.client.post(FILES, content=PNG)
        assert_problem(answer, 503, "disk_full")
        assert answer.headers["retry-after"]
        assert list(stack.settings.files_root.iterdir()) == []
        assert (await stack.client.get(FILES)).json()["usage"]["uploads"] == 0


async def test_a_file_is_downloaded_whole_and_in_part(everpost: Stack) -> None:
    file = await upload(everpost, PNG, 'a "b";\r.png')
    place = f"{FILES}/{file['file_id']}/content"
    whole = await everpost.client.get(place)
    assert (whole.status_code, whole.content) == (200, PNG)
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20%22b%22%3B.png"
    head = await everpost.client.head(place)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PNG)))
    size = len(PNG)
    for asked, first, last in (
        ("0-3", 0, 3),
        ("10-", 10, size - 1),
        ("-5", size - 5, size - 1),
        ("5-9999", 5, size - 1),
    ):
        part = await everpost.client.get(place, headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, PNG[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    beyond = await everpost.client.get(place, headers={"range": f"bytes={size}-"})
    assert_problem(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{size}"
    stale = {"range": "bytes=0-3", "if-range": '"other"'}
    assert (await everpost.client.get(place, headers=stale)).status_code == 200
    known = await everpost.client.get(place, headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_files_are_listed_newest_first(everpost: Stack) -> None:
    file_ids = [(await upload(everpost, PNG))["file_id"] for _ in range(3)]
    first = (await everpost.client.get(FILES, params={"limit": 2})).json()
    rest = (await everpost.client.get(FILES, params={"cursor": first["next_cursor"]})).json()
    assert [file["file_id"] for file in first["data"] + rest["data"]] == file_ids[::-1]
    assert rest["next_cursor"] is None


async def test_unused_files_and_expired_uploads_are_removed(everpost: Stack) -> None:
    used, unused = [await upload(everpost, PNG) for _ in range(2)]
    tus = {"tus-resumable": "1.0.0", "upload-length": "10"}
    assert (await everpost.client.post(FILES, headers=tus)).status_code == 201
    await everpost.publish(file_id=used["file_id"], schedule_time="2030-01-01T00:00:00Z")
    now_ms = everpost.store.meta.now_ms()
    settings = everpost.settings.__class__(data=everpost.settings.data, files_days=30)
    for days, left in ((29, 2), (31, 1)):
        upkeep = FilesUpkeep(everpost.store, settings, lambda days=days: now_ms + days * 86_400_000)  # type: ignore[misc]
        await upkeep.remove_uploads()
        await upkeep.remove_unused()
        assert len(list(settings.files_root.iterdir())) == left
    assert_problem(await everpost.client.get(f"{FILES}/{unused['file_id']}"), 404, "file_not_found")
    assert (await show(everpost, used["file_id"]))["status"] == "pending"


async def test_a_registered_folder_gives_its_files_ids_in_place(everpost: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    (folder / "summer").mkdir(parents=True)
    (folder / "summer" / "猫.png").write_bytes(PNG)
    (folder / ".hidden").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    steps = [step async for step in scan_folder(everpost.store.files, "shared", folder, everpost.store.meta.now_ms)]
    assert [(step.step, step.file_path) for step in steps] == [(Step.ADDED, "summer/猫.png")]
    assert steps[0].record is not None
    file_id = steps[0].record.file_id
    task = await everpost.wait_until_ended(await everpost.publish(file_id=file_id))
    assert task["status"] == "success"
    assert content_of(everpost.publisher.published[0]) == [PNG]
    assert (await show(everpost, file_id))["folder"] == "shared"
    (folder / "summer" / "猫.png").write_bytes(png(5, 5))
    task = await everpost.wait_until_ended(await everpost.publish(file_id=file_id))
    assert (task["status"], task["error_class"]) == ("failed", "invalid")
    again = [step async for step in scan_folder(everpost.store.files, "shared", folder, everpost.store.meta.now_ms)]
    assert [step.step for step in again] == [Step.CHANGED]
    task = await everpost.wait_until_ended(await everpost.publish(file_id=file_id))
    assert task["status"] == "success"
    assert (await everpost.client.delete(f"{FILES}/{file_id}")).status_code == 200
    assert (folder / "summer" / "猫.png").exists()
