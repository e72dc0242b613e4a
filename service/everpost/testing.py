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
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import httpx

from everpost.app import create_app
from everpost.embedded import EmbeddedValkey
from everpost.platforms import Catalogue
from everpost.publishing import NotFound, Publisher, PublisherClass, PublishJob, PublishResult
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings, temporary_settings
from everpost.store import Store, open_store
from everpost_workers.engine import BatchWorker
from everpost_workers.main import create_worker

__all__ = ["ApiRefusal", "NoAsyncioError", "NoValkeyError", "PublisherDouble", "Stack", "eventually", "everpost_stack"]

Found = TypeVar("Found")

DEADLINE_S = 20.0
ENDED = frozenset({"success", "failed", "cancelled", "unknown"})
QUICK = MappingProxyType({"lease": 2.0, "shutdown_wait": 5.0})
"""Settings that shorten waits for tests."""


class NoAsyncioError(RuntimeError):
    """The stack was started without asyncio, for example in a test that anyio runs on trio."""

    def __init__(self) -> None:
        super().__init__(
            "Everpost runs on asyncio only, and this test runs on another event loop, such as trio. With the pytest "
            'plugin of anyio, give such tests a fixture `anyio_backend` that returns "asyncio".'
        )


class NoValkeyError(RuntimeError):
    """A stack that uses the server of the setting `redis` was asked for its own."""


class ApiRefusal(httpx.HTTPStatusError):
    """The API refused a request of the test; the message has the detail.

    Attributes:
        code: The problem's stable code, such as `invalid_value`; None if the answer is not a problem.
        problem: The whole JSON of the answer, or an empty dict.
    """

    def __init__(self, answer: httpx.Response) -> None:
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        self.problem: dict[str, Any] = problem if isinstance(problem, dict) else {}
        self.code: str | None = self.problem.get("code")
        place = f" at {self.problem['path']}" if self.problem.get("path") else ""
        told = (
            f"{self.problem.get('detail', answer.text[:1_000])} ({self.code}{place})" if self.problem else answer.text
        )
        asked = f"{answer.request.method} {answer.request.url.path}"
        super().__init__(f"{asked} answered {answer.status_code}: {told}", request=answer.request, response=answer)


def accepted(answer: httpx.Response) -> httpx.Response:
    """Return the answer if it is a success.

    Raises:
        ApiRefusal: It is a refusal.
    """
    if answer.is_error:
        raise ApiRefusal(answer)
    return answer


async def eventually(
    condition: Callable[[], Awaitable[Found]], *, timeout_s: float = DEADLINE_S, what: str = "the condition"
) -> Found:
    """Wait until `condition` returns something true, and return that.

    Raises:
        TimeoutError: It did not within `timeout_s` seconds; the message has the last value.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s; last seen: {found!r}")
        await asyncio.sleep(0.005)
    return found


class PublisherDouble(Publisher):
    """A platform that keeps lists: it replaces every publisher, and fails on request.

    Attributes:
        published: The accepted jobs, in order.
        attempts: Every call, accepted or not.
        looked_up: Every look-up; it finds accepted jobs.
    """

    def __init__(self, publisher_class: PublisherClass = PublisherClass.NONE) -> None:
        self.publisher_class = publisher_class
        self.published: list[PublishJob] = []
        self.attempts: list[PublishJob] = []
        self.looked_up: list[PublishJob] = []
        self._lost_answers = 0
        self._look_up_error: BaseException | None = None
        self._errors: list[BaseException] = []
        self._error_of: Callable[[PublishJob], Exception | None] = lambda _: None
        self._gate = asyncio.Event()
        self._gate.set()

    def fail_next(self, *errors: BaseException) -> None:
        """Make the next calls raise these errors, one each, instead of accepting."""
        self._errors.extend(errors)

    def fail_when(self, error_of: Callable[[PublishJob], Exception | None]) -> None:
        """Call `error_of` for each job, and raise the error it returns, if any."""
        self._error_of = error_of

    def lose_next_answer(self, count: int = 1) -> None:
        """Accept the next jobs, but break the connection instead of answering."""
        self._lost_answers += count

    def fail_look_ups(self, error: BaseException) -> None:
        """Make every look-up raise this error."""
        self._look_up_error = error

    def hold(self) -> None:
        """Make every call wait until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the waiting calls continue."""
        self._gate.set()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Accept the job, or fail as requested."""
        self.attempts.append(job)
        await self._gate.wait()
        error = self._errors.pop(0) if self._errors else self._error_of(job)
        if error is not None:
            raise error
        self.published.append(job)
        if self._lost_answers:
            self._lost_answers -= 1
            raise ConnectionResetError("the connection broke")
        return _post(len(self.published), job)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Find an accepted post by its key."""
        self.looked_up.append(job)
        if self._look_up_error is not None:
            raise self._look_up_error
        for number, published in enumerate(self.published, 1):
            if published.idempotency_key == job.idempotency_key:
                return _post(number, published)
        return NotFound.NOT_FOUND

    def times_published(self, task_id: str) -> int:
        """How often the platform accepted the task."""
        return sum(job.task_id == task_id for job in self.published)


def _post(number: int, job: PublishJob) -> PublishResult:
    return PublishResult(provider_post_id=f"post-{number}", publish_url=f"https://example.test/{job.task_id}")


class Stack:
    """A running Everpost.

    Attributes:
        client: An HTTP client of the API; it needs no address: `client.post("/api/v1/publish", json=...)`.
        publisher: The double that serves every platform.
        store: The store, on the stack's own connections.
        queue: The stack's own connection to Redis.
    """

    client: httpx.AsyncClient
    store: Store
    queue: TaskQueue

    def __init__(self, settings: Settings, valkey: EmbeddedValkey | None, publisher: PublisherDouble) -> None:
        self.settings = settings
        self._valkey = valkey
        self.publisher = publisher
        self.app = create_app(settings)
        self._workers: list[tuple[BatchWorker, asyncio.Task[None]]] = []

    @property
    def valkey(self) -> EmbeddedValkey:
        """The stack's Valkey.

        Raises:
            NoValkeyError: The stack uses the server of the setting `redis`.
        """
        if self._valkey is None:
            raise NoValkeyError
        return self._valkey

    async def publish(self, **fields: Any) -> str:
        """Post a task made of `fields` and return its id.

        Raises:
            ApiRefusal: The API refused it.
        """
        answer = await self.client.post("/api/v1/publish", json={"platform": 1, "account_id": "account", **fields})
        return str(accepted(answer).json()["task_id"])

    async def retry(self, task_id: str, *, force: bool = False) -> str:
        """Retry a task and return the new task's id.

        Raises:
            ApiRefusal: The task may not be retried.
        """
        answer = await self.post_retry(task_id, force=force)
        return str(accepted(answer).json()["new_task_id"])

    async def post_retry(self, task_id: str, *, force: bool = False) -> httpx.Response:
        """Retry a task and return the API's answer, also a refusal."""
        return await self.client.post(f"/api/v1/tasks/retry/{task_id}", params={"force": str(force).lower()})

    async def task(self, task_id: str) -> dict[str, Any]:
        """A task as the API shows it.

        Raises:
            ApiRefusal: There is no such task.
        """
        answer = await self.client.get(f"/api/v1/tasks/{task_id}")
        return cast("dict[str, Any]", accepted(answer).json()["data"])

    async def wait_until_ended(self, task_id: str, *, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until a task has ended, and return it. A stock arq client's task is known only after its claim."""

        async def ended() -> dict[str, Any] | None:
            answer = await self.client.get(f"/api/v1/tasks/{task_id}")
            task: dict[str, Any] = answer.json().get("data", {})
            return task if task.get("status") in ENDED else None

        return cast("dict[str, Any]", await eventually(ended, timeout_s=timeout_s, what=f"the end of {task_id}"))

    async def drain(self, *, timeout_s: float = DEADLINE_S) -> None:
        """Wait until all accepted tasks have ended, scheduled ones included."""

        async def is_empty() -> bool:
            return await self.store.ledger.count_unfinished() == 0

        await eventually(is_empty, timeout_s=timeout_s, what="an empty ledger")

    async def flush_redis(self) -> None:
        """Make Valkey forget everything, results included."""

        async def is_released() -> bool:
            keys = await self.queue.redis.keys("arq:in-progress:*")
            held = [key.decode().rpartition(":")[2] for key in keys]
            claimed = await self.store.ledger.check_claims(dict.fromkeys(held))
            return len(claimed.known) == len(keys)

        await eventually(is_released, what="the release of what has ended")
        await self.queue.redis.flushall()

    async def start_worker(self, **options: Any) -> BatchWorker:
        """Start one more worker, with these options of `create_worker`; the stack stops it at its end."""
        platforms = Catalogue.read(self.settings.platforms)
        doubles = {platform.publisher: self.publisher for platform in platforms}
        worker = create_worker(self.settings, publishers=doubles, handle_signals=False, **options)
        self._workers.append((worker, asyncio.create_task(worker.async_run())))
        await asyncio.sleep(0)  # let it begin, so that a stop also closes what it opens
        return worker

    async def stop_workers(self) -> None:
        """Stop every worker as SIGTERM does; running tasks are cut off."""
        workers, self._workers = self._workers, []
        for worker, _ in workers:
            await worker.close()
        await asyncio.gather(*(run for _, run in workers), return_exceptions=True)


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
    stack.store = await open_store(stack.settings.database_address, zone=stack.settings.zone)
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
