"""Restarts, stops, wrong clocks, limits, and publishers that misbehave."""

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from resource import RLIMIT_AS, RLIMIT_NOFILE

import httpx
import pytest
from redis.asyncio import Redis

from chaos_kit.faults import WHILE
from chaos_kit.load import HANG_S
from chaos_kit.processes import PythonProcess
from chaos_kit.readiness import check_of, clocks_told
from chaos_kit.scene import LEASE_S, Scene, playing
from everpost.database_address import is_postgresql
from everpost.findings import ahead_text
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus
from everpost.testing import eventually
from everpost.testing.stack import ENDED
from store_kit import StoredTask

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

NONE, LOCAL, KEYED = PublisherClass.NONE, PublisherClass.LOCAL, PublisherClass.KEYED
BACK_WITHIN_S = 5  # after the end of a crashed worker's lease
RESTARTS = 10
ROOM_BYTES = 256 << 20
NEAR_S = 60.0


async def good_end(scene: Scene) -> dict[str, StoredTask]:
    """Heal, drain, check; the rows by task id."""
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    return {row.task_id: row for row in (await scene.facts()).rows}


async def test_a_killed_workers_tasks_are_run_by_another_within_its_lease_and_five_seconds(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=22, publisher_class=LOCAL, delay_ms=1_000, most=64)
    async with playing(scene):
        killed, _ = scene.workers
        scene.load.start()
        await scene.load.more(64)
        began = time.monotonic()
        killed.kill()
        await scene.drained()
        took_s = time.monotonic() - began
        assert took_s < LEASE_S + BACK_WITHIN_S, took_s
        await good_end(scene)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("misbehaviour", "publisher_class", "status"),
    [
        ("hangs", NONE, TaskStatus.UNKNOWN),
        ("dies", NONE, TaskStatus.UNKNOWN),
        ("dies", LOCAL, TaskStatus.UNKNOWN),
        ("allocates", LOCAL, TaskStatus.FAILED),
    ],
)
async def test_a_post_that_breaks_its_publisher_ends_and_takes_no_other_with_it(
    tmp_path: Path, misbehaviour: str, publisher_class: PublisherClass, status: TaskStatus
) -> None:
    settings = {"EVERPOST_JOB_TIMEOUT": "0.5", "EVERPOST_MAX_ATTEMPTS": "1"}
    scene = Scene(
        tmp_path,
        seed=23,
        publisher_class=publisher_class,
        workers=1,
        slots=1,
        most=10,
        has_crashing_publisher=misbehaviour == "allocates",  # with a MemoryError
        settings=settings,
    )
    (worker,) = scene.workers
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        if misbehaviour == "allocates":
            worker.limit(RLIMIT_AS, size_of(worker) + ROOM_BYTES)
        task_id = await scene.load.post(client, scene.chance, priority=0, misbehaviour=misbehaviour)
        scene.load.start()

        async def is_over() -> bool:
            if not worker.is_running:
                await worker.start()
            answer = await client.get(f"{scene.addresses()[0]}/api/v1/tasks/{task_id}")
            return str(answer.json()["data"]["status"]) in ENDED

        await eventually(is_over, what="the end of the post")
        rows = await good_end(scene)
    assert rows.pop(str(task_id)).status == status
    assert {row.status for row in rows.values()} == {TaskStatus.SUCCESS}


def size_of(process: PythonProcess) -> int:
    """Its address space, in bytes."""
    assert process.child is not None
    pages = int(Path(f"/proc/{process.child.pid}/statm").read_text("ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.chaos
async def test_processes_without_a_file_descriptor_left_work_again_when_there_are_some_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=24, publisher_class=KEYED, workers=1, has_crashing_publisher=True)  # it opens files
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        processes: list[PythonProcess] = [*scene.apis, *scene.workers]
        for process in processes:
            process.limit(RLIMIT_NOFILE, 8)  # fewer than are open: every new one is refused
        scene.valkey.kill()
        await scene.load.more(WHILE)
        await scene.valkey.start()
        await refuse_connections(scene)
        await scene.load.more(WHILE)
        for process in processes:
            process.limit(RLIMIT_NOFILE, 1024)
        await scene.sent(WHILE)
        await good_end(scene)


async def refuse_connections(scene: Scene) -> None:
    """Connect to an API that has no file descriptor for it."""
    address = httpx.URL(scene.addresses()[0])
    connections = await asyncio.gather(*(asyncio.open_connection(address.host, address.port) for _ in range(20)))
    for _, writer in connections:
        writer.close()


@pytest.mark.chaos
async def test_ten_rolling_restarts_of_everything_are_seen_by_no_client_but_as_broken_connections(
    tmp_path: Path,
) -> None:
    async with playing(Scene(tmp_path, seed=25, publisher_class=NONE, apis=2, most=100_000)) as scene:
        scene.load.start()
        for _ in range(RESTARTS):
            for process in (*scene.apis, *scene.workers):
                assert await process.stop() == 0
                await process.start()
                await scene.load.more(WHILE)
        rows = await good_end(scene)
    assert {row.status for row in rows.values()} == {TaskStatus.SUCCESS}


def faketime() -> str | None:
    """The library that moves a process's clock."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else None


@pytest.mark.chaos
@pytest.mark.skipif(faketime() is None, reason="libfaketime is not installed (Debian: apt install libfaketime)")
@pytest.mark.parametrize(
    ("moves", "is_host"),
    [
        pytest.param(["+3600s", "+0s"], True, id="forward and back"),
        pytest.param(["-3600s", "+0s"], True, id="back and forward"),
        pytest.param(["+3600s", "-3600s"], False, id="forward and back, and not Valkey's"),
    ],
)
async def test_a_clock_that_is_moved_by_an_hour_loses_delays_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: list[str], *, is_host: bool
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0s\n")
    moved = {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # the fix ends each wait for the interpreter's lock at once
        "NO_FAKE_STAT": "1",
    }
    if is_host:
        # Without its allocator: while libfaketime starts it allocates memory, for which mimalloc asks it for the time.
        monkeypatch.setattr("everpost.embedded.server_environment", lambda: moved)
    scene = Scene(tmp_path, seed=26, publisher_class=NONE, settings=moved)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        scene.load.start()
        for offset in moves:
            await scene.sent(WHILE)
            written = tmp_path / "moved"
            written.write_text(f"{offset}\n")
            written.rename(clock)  # libfaketime ends a process that reads an empty file
            await moved_clocks(scene, client, float(offset.removesuffix("s")), is_host=is_host)
            await scene.sent(WHILE)
        await good_end(scene)


async def moved_clocks(scene: Scene, client: httpx.AsyncClient, offset_s: float, *, is_host: bool) -> None:
    """Wait until the clocks of the API and the workers are moved, and that of Valkey if it is the host's.

    A file's times are those of these clocks. PostgreSQL is another host here, whose clock stays right and alone counts.
    """
    if is_postgresql(scene.database):
        await eventually(lambda: are_told(scene, offset_s, is_host=is_host), what=f"{offset_s:+g} s in the reports")
        assert await is_dated(scene, client, 0.0)
    else:
        await eventually(lambda: is_dated(scene, client, offset_s), what=f"times at {offset_s:+g} s")
        of_redis_s = offset_s if is_host else 0.0
        await eventually(lambda: is_at(scene.redis, of_redis_s), what=f"Redis's clock at {of_redis_s:+g} s")


async def is_at(redis: Redis, offset_s: float) -> bool:
    """Whether Redis's clock is so far ahead."""
    return bool(abs((await redis.time())[0] - time.time() - offset_s) < NEAR_S)


async def are_told(scene: Scene, offset_s: float, *, is_host: bool) -> bool:
    """Whether readiness and the workers' reports tell how far the hosts' clocks are ahead of the database's."""
    ahead = ahead_text(offset_s * 1_000, "")
    of_api = f" This host's clock is {ahead}the database's." if offset_s else ""
    of_redis = f"{ahead}this host's" if offset_s and is_host else "as this host's"
    of_workers = [f"workers: {ahead}the database's"] * len(scene.workers) if offset_s else []
    said = (await check_of(scene, "database"))["detail"]
    return said == f"It can be written.{of_api}" and await clocks_told(scene) == [f"Redis: {of_redis}", *of_workers]


async def is_dated(scene: Scene, client: httpx.AsyncClient, offset_s: float) -> bool:
    """Whether a task runs now, and has times that are so far ahead."""
    task_id = await scene.load.post(client, scene.chance)
    answer = await client.get(f"{scene.addresses()[0]}/api/v1/tasks/{task_id}", params={"wait": 8})
    task = answer.json()["data"]
    if task["completed_at"] is None:
        return False
    times = [datetime.fromisoformat(task[name]).timestamp() for name in ("created_at", "completed_at")]
    return all(abs(time_s - time.time() - offset_s) < NEAR_S for time_s in times)
