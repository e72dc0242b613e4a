"""The whole stack in-process, for other teams' async integration tests: embedded Valkey, API, worker, temporary files.

    async with everpost_stack() as stack:
        task_id = await stack.publish(platform=1, account_id="a", title="t")
        task = await stack.wait_until_ended(task_id)

Nothing in it is a mock but the publisher, which records what reached "the platform" and fails on request. The pytest
fixture `everpost` comes with the package (`service/everpost/pytest_plugin.py`).
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from everpost.embedded import EmbeddedValkey
from everpost.queue.task_queue import TaskQueue
from everpost.settings import temporary_settings
from everpost.store import open_store
from everpost.testing.accounts import AccountDouble
from everpost.testing.double import PublisherDouble
from everpost.testing.stack import ApiRefusal, NoValkeyError, Stack
from everpost.testing.waiting import eventually

__all__ = [
    "AccountDouble",
    "ApiRefusal",
    "NoAsyncioError",
    "NoValkeyError",
    "PublisherDouble",
    "Stack",
    "eventually",
    "everpost_stack",
]

QUICK = MappingProxyType({"lease": 2.0, "shutdown_wait": 5.0})
"""Settings that shorten waits for tests."""


class NoAsyncioError(RuntimeError):
    """The stack was started without asyncio, for example in a test that anyio runs on trio."""

    def __init__(self) -> None:
        super().__init__(
            "Everpost runs on asyncio only, and this test runs on another event loop, such as trio. With the pytest "
            'plugin of anyio, give such tests a fixture `anyio_backend` that returns "asyncio".'
        )


@asynccontextmanager
async def everpost_stack(
    *,
    workers: int = 1,
    publisher: PublisherDouble | None = None,
    folder: Path | None = None,
    durable: bool = False,
    **settings: Any,
) -> AsyncIterator[Stack]:
    """Start everything, and stop it in order at the end; only files in a given `folder` stay.

    Args:
        workers: The number of workers; more can be started later.
        publisher: The double that serves every platform; by default one of the class `NONE`.
        folder: The folder for all files; a temporary folder by default.
        durable: Let Valkey write its append-only file.
        settings: Fields of `Settings` that differ from the defaults and `QUICK`. With `redis`, no Valkey is started.

    Raises:
        NoAsyncioError: asyncio does not run.
    """
    _check_asyncio()
    async with AsyncExitStack() as cleanup:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="everpost-test-"))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        valkey = None
        if "redis" not in settings:
            valkey = await EmbeddedValkey(folder / "valkey", durable=durable).start()
            cleanup.push_async_callback(valkey.stop)
            settings["redis"] = valkey.address
        chosen = temporary_settings(folder, **{**QUICK, **settings})
        stack = Stack(chosen, valkey, publisher or PublisherDouble())
        await _connect(stack, cleanup)
        cleanup.push_async_callback(stack.stop_workers)
        for _ in range(workers):
            await stack.start_worker()
        yield stack


def _check_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise NoAsyncioError from None


async def _connect(stack: Stack, cleanup: AsyncExitStack) -> None:
    await cleanup.enter_async_context(_alive(stack))
    transport = httpx.ASGITransport(app=stack.app)  # type: ignore[arg-type]  # Litestar types its scope more narrowly
    headers = {"Authorization": f"Bearer {stack.settings.token}"} if stack.settings.token else {}
    stack.client = await cleanup.enter_async_context(
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)
    )
    stack.store = await open_store(
        stack.settings.database_address, zone=stack.settings.zone, redactor=stack.settings.redactor
    )
    cleanup.push_async_callback(stack.store.close)
    stack.queue = TaskQueue.connect(stack.settings.redis_address)
    cleanup.push_async_callback(stack.queue.close)


@asynccontextmanager
async def _alive(stack: Stack) -> AsyncIterator[None]:
    """The app from start-up to shutdown, both in one asyncio task; the two halves of a fixture may run in two."""
    started, stopping = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with stack.app.lifespan():
            started.set()
            await stopping.wait()

    life = asyncio.create_task(live())
    start = asyncio.create_task(started.wait())
    try:
        await asyncio.wait((life, start), return_when=asyncio.FIRST_COMPLETED)
        if started.is_set():
            yield
    finally:
        start.cancel()
        stopping.set()
        await life
