"""The database file and its disk in trouble under load: nothing acknowledged is lost, and work resumes.

Each fault is done to real processes and then healed, and nothing is restarted. Meanwhile every answer is a 202 with a
row, or a 503 with Retry-After within 2 s, and workers publish no more than what they held.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from chaos_kit.checks import count_effects
from chaos_kit.duress import all_failing, filled, free_bytes, moved_away, small_disk
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from everpost.failpoints import Action
from everpost.publishing import PublisherClass
from everpost.store.sqlite.library import sqlite3
from everpost.testing import eventually

REFUSALS = 40
ANSWER_S = 2.0
DISK_BYTES = 48 << 20  # the log alone grows to 16 MB before its pages go into the database

Fault = Callable[[Scene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def locked(scene: Scene) -> AsyncIterator[None]:
    """Another process holds a write transaction open."""
    with scene.kit.locked():
        yield


@asynccontextmanager
async def no_fsync(scene: Scene) -> AsyncIterator[None]:
    """The disk fails to flush the log."""
    async with all_failing([*scene.apis, *scene.workers], scene.log_of_database, "fsync,fdatasync", "error=EIO"):
        yield


@asynccontextmanager
async def read_only(scene: Scene) -> AsyncIterator[None]:
    """The file system has become read-only, as the kernel makes it after an error of the disk."""
    async with all_failing([*scene.apis, *scene.workers], scene.log_of_database, "pwrite64,write", "error=EROFS"):
        yield


@asynccontextmanager
async def file_replaced(scene: Scene) -> AsyncIterator[None]:
    """A copy has replaced the file."""
    with moved_away(scene.database_file) as original:
        shutil.copyfile(original, scene.database_file)
        yield


@asynccontextmanager
async def log_moved(scene: Scene) -> AsyncIterator[None]:
    """A person has deleted the log."""
    with moved_away(scene.log_of_database):
        yield


async def readiness(scene: Scene) -> dict[str, str]:
    """What is not well, by the name of the check."""
    async with httpx.AsyncClient(timeout=5) as client:
        answer = await client.get(f"{scene.addresses()[0]}/health/ready")
    wrong = {check["name"]: check["detail"] for check in answer.json()["checks"] if not check["ok"]}
    assert (answer.status_code == HTTPStatus.OK) == (not wrong)
    return wrong


async def refused(scene: Scene, count: int = REFUSALS) -> None:
    """Wait until so many more posts were answered with 503."""
    wanted = scene.load.answers["503"] + count

    async def is_refused() -> bool:
        return scene.load.answers["503"] >= wanted

    await eventually(is_refused, what=f"{count} refusals")


async def endure(scene: Scene, fault: Fault, reason: str) -> None:
    """Inject the fault under load, check answers and logs, heal it, and check that work continues."""
    await scene.load.more(100)
    await scene.sent(50)
    scene.load.slowest_s = 0.0
    async with fault(scene):
        await refused(scene)
        await eventually(lambda: is_told(scene, reason), what=f"readiness that tells {reason!r}")
        await eventually(lambda: is_quiet(scene), what="a platform that is left in peace")
    assert scene.load.slowest_s < ANSWER_S
    await scene.load.more(50)
    await scene.sent(50)
    await eventually(lambda: is_well(scene), what="readiness, which hears of a worker with its next heartbeat")


async def is_well(scene: Scene) -> bool:
    return await readiness(scene) == {}


async def is_told(scene: Scene, reason: str) -> bool:
    """Whether readiness tells what is wrong; a full disk still takes what fits into the log as it is."""
    return reason in (await readiness(scene)).get("database", "")


async def is_quiet(scene: Scene) -> bool:
    """Whether nothing is published while some posts are refused."""
    before = count_effects(scene.effects)
    await refused(scene)
    return count_effects(scene.effects) == before


@pytest.mark.parametrize(
    ("fault", "reason", "publisher_class"),
    [
        (locked, "locked by another process", PublisherClass.KEYED),
        pytest.param(no_fsync, "disk I/O error", PublisherClass.NONE, marks=pytest.mark.chaos),
        pytest.param(read_only, "disk I/O error", PublisherClass.KEYED, marks=pytest.mark.chaos),
        pytest.param(file_replaced, "replaced. Put it back", PublisherClass.NONE, marks=pytest.mark.chaos),
        pytest.param(log_moved, "replaced. Put it back", PublisherClass.KEYED, marks=pytest.mark.chaos),
    ],
)
async def test_trouble_with_the_file_is_endured(
    tmp_path: Path, fault: Fault, reason: str, publisher_class: PublisherClass
) -> None:
    scene = Scene(tmp_path, seed=4, publisher_class=publisher_class, most=100_000)
    async with playing(scene):
        scene.load.start()
        await endure(scene, fault, reason)
        verdict = await scene.finish()
        assert verdict.is_good, verdict


@asynccontextmanager
async def disk_full(scene: Scene) -> AsyncIterator[None]:
    """Something else has taken all room on the disk; what was written before it was, in the log, can be overwritten."""
    with filled(scene.database_file.parent):
        yield


async def test_a_full_disk_is_endured(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        database = disk / "everpost.db"
        scene = Scene(tmp_path, seed=5, publisher_class=PublisherClass.KEYED, most=100_000, database=str(database))
        async with playing(scene):
            scene.load.start()
            await endure(scene, disk_full, "disk is full")
            verdict = await scene.finish()
            assert verdict.is_good, verdict


async def test_a_disk_that_fills_up_has_room_for_all_outcomes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        scene = Scene(
            tmp_path,
            seed=6,
            publisher_class=PublisherClass.NONE,
            most=100_000,
            database=str(disk / "everpost.db"),
            settings={"EVERPOST_MIN_FREE_DISK": str(DISK_BYTES // 4)},
        )
        async with playing(scene):
            scene.load.start()
            await scene.load.more(100)
            with filled(disk, leave=DISK_BYTES // 5):
                await refused(scene)
                assert "bytes left" in (await readiness(scene))["database"]
                verdict = await scene.finish()
                assert verdict.is_good, verdict
                assert free_bytes(disk) > 0


def damage(database: Path, table: str) -> None:
    """Overwrite the first page of a table, which every use of it begins with."""
    connection = sqlite3.connect(database, isolation_level=None)
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        """During reads and writes, the page would still be read from the log."""
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)


async def said(process: PythonProcess, text: str) -> None:
    """Wait until a process has logged something."""

    async def has_said() -> bool:
        return text.encode() in process.log.read_bytes()

    await eventually(has_said, what=text)


async def test_no_process_writes_to_a_file_it_has_found_damaged(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=7, publisher_class=PublisherClass.KEYED, workers=1)
    async with playing(scene), httpx.AsyncClient(base_url=scene.addresses()[0], timeout=5) as client:
        (worker,) = scene.workers
        await scene.load.post(client, scene.chance)
        await scene.drained()
        worker.arm("send.accepted", Action.PAUSE)
        await scene.load.post(client, scene.chance)
        await worker.reached("send.accepted")
        damage(scene.database_file, "publish_tasks")
        worker.go_on("send.accepted")
        await said(worker, "complete.hook_failed")
        await scene.load.post(client, scene.chance)
        await said(worker, "claim.hook_failed")
        assert count_effects(scene.effects) == 2
        listed = await client.get("/api/v1/tasks")
        refusal = await client.post("/api/v1/publish", json={"platform": 1, "account_id": "a"})
        for answer in (listed, refusal):
            assert (answer.status_code, answer.headers["retry-after"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "60")
            assert answer.json()["code"] == "database_damaged"
        assert "restore a backup" in (await readiness(scene))["database"]
