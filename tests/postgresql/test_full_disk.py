"""The disk of PostgreSQL is really full: what was not written is refused, and work goes on once there is room."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from chaos_kit.dials import SEED
from chaos_kit.duress import filled, small_disk
from chaos_kit.faults import WHILE
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.testing import eventually
from postgresql_server import FAST, PREFIX, PostgresqlServer, identity, server_user

DISK_BYTES = 96 << 20
REFUSED = 6

pytestmark = pytest.mark.chaos


@contextmanager
def server_on(disk: Path, wal: Path | None = None) -> Iterator[PostgresqlServer]:
    """A server whose files are on the small disk, except its WAL if that has another folder."""
    folders = [disk] if wal is None else [disk, wal]
    if (user := server_user()) is not None:
        for folder in folders:
            os.chown(folder, user.pw_uid, user.pw_gid)
    server = PostgresqlServer(disk)
    server.begin({**FAST, "max_wal_size": "16MB", "min_wal_size": "2MB"})
    try:
        if wal is not None:
            server.stop()
            subprocess.run(["mv", server.data / "pg_wal", wal], check=True, **identity())
            (server.data / "pg_wal").symlink_to(wal / "pg_wal")
            server.start()
        yield server
    finally:
        server.signal_all(signal.SIGKILL)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk that every user can reach."""
    folder = Path(f"/tmp/{PREFIX}disk-{os.getpid()}")
    with ExitStack() as stack:
        stack.callback(folder.rmdir)
        yield stack.enter_context(small_disk(folder, DISK_BYTES))


async def readiness(scene: Scene) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.get(f"{scene.addresses()[0]}/health/ready")


async def is_ready(scene: Scene) -> bool:
    return (await readiness(scene)).status_code == HTTPStatus.OK


async def check_refusals(scene: Scene) -> None:
    """Posts get 503, and readiness says why. What has room in a page may be accepted, and is checked at the end."""
    await scene.load.refused(REFUSED)
    ready = await eventually(lambda: refusal(scene), what="a refusal by readiness")
    assert "cannot be written" in ready
    await scene.load.refused(REFUSED)


async def refusal(scene: Scene) -> str:
    answer = await readiness(scene)
    return "" if answer.status_code == HTTPStatus.OK else answer.text


@asynccontextmanager
async def endured(folder: Path, server: PostgresqlServer, disk: Path) -> AsyncIterator[None]:
    """A stack under load goes on after the disk was full. The block runs as soon as there is room again."""
    scene = Scene(folder, seed=SEED, publisher_class=PublisherClass.NONE, clients=6, database=server.address())
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        with filled(disk):
            scene.strike()
            await check_refusals(scene)
        yield
        await scene.sent(WHILE)
        await eventually(lambda: is_ready(scene), what="readiness")
        verdict = await scene.finish()
        assert verdict.is_good, verdict


async def test_a_full_disk_is_endured_also_if_the_server_ends(tmp_path: Path, disk: Path) -> None:
    """The WAL is on it too. If a new WAL file is needed, PostgreSQL ends, and a supervisor starts it again."""
    with server_on(disk) as server:
        async with endured(tmp_path, server, disk):
            if not server.is_running:
                await asyncio.to_thread(server.start)


async def test_tables_that_cannot_grow_refuse_and_take_tasks_again(tmp_path: Path, disk: Path) -> None:
    with TemporaryDirectory(prefix=PREFIX, dir=disk.parent) as wal, server_on(disk, Path(wal)) as server:
        async with endured(tmp_path, server, disk):
            assert server.is_running
