"""`everpost demo`: the main job on real processes and files; each step is shown, checked, and proved from the store."""

import asyncio
import shutil
import tempfile
import time
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from pathlib import Path

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from everpost.children import stopped_by_signals
from everpost.demo.bluesky import BlueskyDemo
from everpost.demo.files import ORIGINALS_TASK, write_sound
from everpost.demo.pds import NoPdsError
from everpost.demo.stack import DemoFailedError, DemoStack
from everpost.errors import SettingsError
from everpost.store import scratch_store
from everpost.store.shown import ORIGINAL_TASK, ShownRows

TABLE_WIDTH = 150  # two full ids side by side
WARNING = "Task data rebuilt from individual fields (may be incomplete)"


class Demo(DemoStack):
    """One run of all steps."""

    async def run(self) -> None:
        """Start everything, run the steps, stop everything.

        Raises:
            DemoFailedError: A step did not hold.
        """
        async with AsyncExitStack() as cleanup:
            await self.start(cleanup)
            await self.publishes_a_media_file()
            await self.retries_from_redis()
            await self.retries_from_history_after_flushall()
            await self.picks_up_what_redis_lost()
            await self.retries_a_row_of_the_original_system()
            await self.retries_a_batch()
            self.shows_the_rows()

    async def publishes_a_media_file(self) -> None:
        """A task with a media file reaches the folder publisher."""
        self.step("Publish a media file")
        sound = write_sound(self.media / "a440.wav")
        task_id = await self.publish(**ORIGINALS_TASK, file_path="a440.wav")
        task = await self.until_ended(task_id)
        self.check(task["status"] == "success", f"it was published: {task['publish_url']}")
        published = Path(httpx.URL(task["publish_url"]).path) / "media.wav"
        self.check(published.read_bytes() == sound.read_bytes(), f"the file is there, {sound.stat().st_size} bytes")
        row = self.store.row(task_id)
        self.check(
            msgspec.json.decode(row["task_data"]) == {**ORIGINALS_TASK, "file_path": "a440.wav"},
            "the database has every field",
        )
        self.check("测试视频" in row["task_data"], "and they are readable: 测试视频")

    async def retries_from_redis(self) -> None:
        """A task fails, its cause is removed, and the retry finds the data in Redis."""
        self.step("A publish fails and is retried from Redis")
        task_id = await self.publish(platform="douyin", account_id="shop", title="late file", file_path="late.wav")
        task = await self.until_ended(task_id)
        self.check(task["status"] == "failed", f"it failed: {task['error_message']}")
        write_sound(self.media / "late.wav")
        self.tell("the missing file has arrived; ten clients press Retry at once")
        path = f"/api/v1/tasks/retry/{task_id}"
        answers = [answer.json() for answer in await asyncio.gather(*(self.client.post(path) for _ in range(10)))]
        new_ids = {answer["new_task_id"] if answer["success"] else answer["task_id"] for answer in answers}
        refused = sum(not answer["success"] for answer in answers)
        self.check(
            len(new_ids) == 1, f"one new task; all were told its id, {refused} of them that it had succeeded by then"
        )
        first = next(answer for answer in answers if answer["success"])
        self.check(first["source"] == "redis", f"source: {first['source']}, {first['message']!r}")
        task = await self.until_ended(new_ids.pop())
        self.check(
            task["status"] == "success" and task["retry_of"] == task_id, "it was published, as a retry of the first"
        )
        again = await self.client.post(f"/api/v1/tasks/retry/{task_id}")
        self.check(again.status_code == httpx.codes.CONFLICT, f"one more retry: 409, {again.json()['detail']}")

    async def retries_from_history_after_flushall(self) -> None:
        """Redis has forgotten everything; the history has the data."""
        self.step("The same after FLUSHALL: retried from publish_tasks")
        extra = {"campaign": {"id": 2**70, "ratio": 0.1}, "schedule_time": "2026-01-01 08:00"}
        task_id = await self.publish(
            platform=2, account_id="shop", title="钱", file_path="soon.wav", priority=2, **extra
        )
        await self.until_ended(task_id)
        write_sound(self.media / "soon.wav")
        await self.queue.flush()
        self.check(await self.queue.keys_of(task_id) == [], "FLUSHALL: Redis knows nothing of it")
        answer = await self.retry(task_id)
        self.check(answer["source"] == "sqlite", f"source: {answer['source']}, {answer['message']!r}")
        task = await self.until_ended(answer["new_task_id"])
        self.check(task["status"] == "success", "it was published")
        before, after = self.store.row(task_id), self.store.row(answer["new_task_id"])
        self.check(before["task_data"] == after["task_data"], "every field survived, 2^70 among them")
        self.check(after["priority"] == 2, "and so did priority 2")  # noqa: PLR2004 - it was sent above

    async def picks_up_what_redis_lost(self) -> None:
        """A task that vanished from Redis before it ran still runs."""
        self.step("A task's Redis copy vanishes before it runs")
        await self.stop_worker()
        self.tell("the worker is stopped (SIGTERM)")
        task_id = await self.publish(platform="kuaishou", account_id="shop", title="orphan")
        self.check(
            f"arq:job:{task_id}" in await self.queue.keys_of(task_id), "accepted and queued, with no worker to run it"
        )
        await self.queue.flush()
        self.check(await self.queue.keys_of(task_id) == [], "FLUSHALL: its Redis copy is gone")
        began = time.monotonic()
        await self.start_worker()
        task = await self.until_ended(task_id)
        self.check(
            task["status"] == "success",
            f"a worker came back and ran it without a retry, {time.monotonic() - began:.1f} s",
        )

    async def retries_a_row_of_the_original_system(self) -> None:
        """A Celery-era row without task_data is rebuilt, with the original's warning."""
        self.step("A task of the original system, without task_data")
        answer = await self.retry(ORIGINAL_TASK)
        self.check(answer["source"] == "sqlite", f"source: {answer['source']}")
        self.check(answer.get("warning") == WARNING, f"warning: {answer.get('warning')}")
        task = await self.until_ended(answer["new_task_id"])
        self.check(task["status"] == "success", "it was published")
        self.check(self.store.row(ORIGINAL_TASK)["status"] == "failed", "the old row is unchanged")

    async def retries_a_batch(self) -> None:
        """Twenty tasks fail for one reason and are retried with one request."""
        self.step("Twenty fail for one reason; one batch retry")
        tasks = [
            {"platform": "bilibili", "account_id": "shop", "title": f"part {n}", "file_path": "series.wav"}
            for n in range(20)
        ]
        accepted = (await self.client.post("/api/v1/publish/batch", json=tasks)).json()
        self.check(
            accepted["accepted"] == len(tasks),
            f"one request, {accepted['accepted']} tasks, batch {accepted['batch_id']}",
        )
        for result in accepted["results"]:
            await self.until_ended(result["task_id"])
        write_sound(self.media / "series.wav")
        chosen = {"filter": {"status": "failed", "platform": "bilibili"}}
        dry = (await self.client.post("/api/v1/tasks/batch/retry", json={**chosen, "dry_run": True})).json()
        self.tell(f"dry run: {dry['message']}")
        answer = (await self.client.post("/api/v1/tasks/batch/retry", json=chosen)).json()
        self.check(answer["success_count"] == len(tasks), f"{answer['message']}")
        ends = [(await self.until_ended(task_id))["status"] for task_id in answer["new_task_ids"]]
        self.check(ends == ["success"] * len(tasks), f"{len(ends)} published")

    def shows_the_rows(self) -> None:
        """Show the rows that prove it."""
        self.step("The rows in the database")
        for shown in self.store.ask():
            self.tell(f"[dim]{shown.question}[/dim]")
            self.console.print(as_table(shown))
        faults = self.store.find_faults()
        self.check(not faults, "; ".join(faults) or "no task is in two tables or unfinished, and nothing is damaged")


def as_table(shown: ShownRows) -> Table:
    """Rows of the store, for the console."""
    table = Table(*shown.columns, box=None, padding=(0, 1), header_style="dim")
    for row in shown.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    return table


def main(
    folder: Path | None = None, *, keep: bool = False, server: str | None = None, platform: str | None = None
) -> int:
    """Run the demonstration; return 0 if every step held.

    Args:
        folder: The folder for all files; a temporary folder by default.
        keep: Keep the folder.
        server: The address of a PostgreSQL server, where a new database is made; None is a file in the folder.
        platform: `bluesky` posts to a real server of that platform; None shows the main job.

    Raises:
        SettingsError: The folder is not empty; it may belong to a running Everpost.
    """
    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty; the demonstration wants a folder of its own.")
    console = Console(highlight=False)
    console.width = max(console.width, TABLE_WIDTH)
    folder = folder or Path(tempfile.mkdtemp(prefix="everpost-demo-"))
    try:
        with stopped_by_signals(), _new_database(folder, server) as database:
            demo = BlueskyDemo if platform == "bluesky" else Demo
            asyncio.run(demo(folder, console, database).run())
    except KeyboardInterrupt:
        _clean_up(folder, keep=keep)
        raise
    except NoPdsError as error:
        _clean_up(folder, keep=keep)
        raise SettingsError(str(error)) from error
    except (DemoFailedError, TimeoutError, httpx.HTTPError, LookupError) as error:
        console.print(f"\n[red]A step did not hold: {error!r}[/red]\nEverything is kept in {folder}; see its *.log.")
        return 1
    console.print("\n[bold green]Every step held.[/bold green] Start your own with: everpost up")
    if keep:
        console.print(f"Everything is kept in {folder}.")
    _clean_up(folder, keep=keep)
    return 0


def _new_database(folder: Path, server: str | None) -> AbstractContextManager[str]:
    return nullcontext(str(folder / "everpost.db")) if server is None else scratch_store(server)


def _clean_up(folder: Path, *, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
