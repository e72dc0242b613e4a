"""A running Everpost, as tests see it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

from everpost.app import create_app
from everpost.embedded import EmbeddedValkey
from everpost.platforms import Catalogue
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.store import Store
from everpost.testing.double import PublisherDouble
from everpost.testing.events import StackEvents
from everpost.testing.waiting import DEADLINE_S, eventually
from everpost.views.events.event import EventFilter
from everpost_workers.engine import BatchWorker
from everpost_workers.main import create_worker

ENDED = frozenset({"success", "failed", "cancelled", "unknown"})


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

    async def post_retry(
        self, task_id: str, *, force: bool = False, data: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """Retry a task and return the API's answer, also a refusal; `data` is a JSON merge patch of the task's data."""
        body = None if data is None else {"data": data}
        parameters = {"force": str(force).lower()}
        return await self.client.post(f"/api/v1/tasks/retry/{task_id}", params=parameters, json=body)

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

    @asynccontextmanager
    async def events(self, **wanted: Any) -> AsyncIterator[StackEvents]:
        """The events from now on, as readers of GET /events get them; `wanted` are fields of `EventFilter`.

        `async with stack.events() as events: ended = await events.next("task.ended")`.
        """
        feed = self.app.state.services.feed
        events = StackEvents(EventFilter(**wanted))
        await feed.join(events, None)
        try:
            yield events
        finally:
            feed.leave(events)

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
