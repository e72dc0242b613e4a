"""The original's `file_records`: adopted in place, named by their numbers, and kept up to date."""

from pathlib import Path

from everpost.testing import everpost_stack
from media_samples import png
from sqlite.original_database import insert, make_original, run

PNG = png(30, 20)


async def test_a_task_publishes_the_originals_file_by_its_number_and_marks_it(tmp_path: Path) -> None:
    path = make_original(tmp_path / "original.db")
    insert(path, "file_records", {"filename": "b.png", "filesize": "odd", "file_path": "../../etc/passwd"})
    media = tmp_path / "media" / "a"
    media.mkdir(parents=True)
    (media / "视频.mp4").write_bytes(PNG)
    async with everpost_stack(folder=tmp_path / "data", database=str(path), media=tmp_path / "media") as stack:
        task = await stack.wait_until_ended(await stack.publish(file_id=1, account_id="shop"))
        assert (task["status"], task["result"]) == ("success", {"media": "视频.mp4"})
        (job,) = stack.publisher.published
        assert job.media is not None
        assert (job.media.file_id, job.media.content_type) == ("1", "image/png")
        shown = (await stack.client.get("/api/v1/files/1")).json()["data"]
        assert (shown["status"], shown["last_platform"]) == ("published", "xiaohongshu")
        assert shown["file_path"] == "a/视频.mp4"
        assert shown["published_at"] == task["completed_at"]
        unsafe = await stack.wait_until_ended(await stack.publish(file_id="2"))
        assert (unsafe["status"], unsafe["error_class"]) == ("failed", "invalid")
        own = await stack.wait_until_ended(await stack.publish(file_id=123))
        assert own["result"] == {"media": "none: file_id 123 is unknown, published as metadata only"}
        assert (await stack.client.delete("/api/v1/files/1")).status_code == 200
        assert (media / "视频.mp4").exists()
    columns = "id, filename, filesize, file_path, status, last_accounts, title"
    assert run(path, f"SELECT {columns} FROM file_records") == [
        (2, "b.png", "odd", "../../etc/passwd", "pending", None, None)
    ]


async def test_the_status_columns_are_the_originals(tmp_path: Path) -> None:
    path = make_original(tmp_path / "original.db")
    (tmp_path / "media" / "a").mkdir(parents=True)
    (tmp_path / "media" / "a" / "视频.mp4").write_bytes(PNG)
    async with everpost_stack(folder=tmp_path / "data", database=str(path), media=tmp_path / "media") as stack:
        for account in ("one", "two"):
            await stack.wait_until_ended(await stack.publish(files=[{"file_id": "1"}], account_id=account))
    found = run(path, "SELECT status, last_platform, last_accounts, published_at IS NOT NULL FROM file_records")
    assert found == [("published", "xiaohongshu", '["one","two"]', 1)]
