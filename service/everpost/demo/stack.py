"""The demonstration's own Everpost: an embedded Valkey, an API and a worker, and how a step is shown and checked."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import msgspec
from rich.console import Console

from everpost.children import Child, wait_for_log
from everpost.embedded import EmbeddedValkey
from everpost.queue.measured import MeasuredQueue
from everpost.settings import PREFIX, VARIABLES
from everpost.store import shown_store

Found = TypeVar("Found")

DEADLINE_S = 30.0
START_TIMEOUT_S = 20.0
ENDED = frozenset({"success", "failed", "cancelled", "unknown"})


class DemoFailedError(Exception):
    """A step did not hold."""


class DemoStack:
    """A folder, an embedded Valkey, an API process and a worker process.

    Args:
        database: The path or address of the store, where nothing is yet.

    Attributes:
        more_environment: More variables for the API and the worker.
    """

    def __init__(self, folder: Path, console: Console, database: str) -> None:
        self.folder = folder
        self.database = database
        self.console = console
        self.media = folder / "media"
        self.store = shown_store(database)
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.worker: Child | None = None
        self.more_environment: Mapping[str, str] = {}
        self._steps = 0

    async def start(self, cleanup: AsyncExitStack) -> None:
        """Start everything; `cleanup` stops it."""
        self.step("Start: the original system's database, an embedded Valkey, the API, a worker")
        self.media.mkdir(parents=True)
        self.store.write_original()
        self.tell("wrote a Celery-era database with a failed task and no task_data")
        await self.valkey.start()
        cleanup.push_async_callback(self.valkey.stop)
        self.queue = MeasuredQueue(self.valkey.address)
        cleanup.push_async_callback(self.queue.close)
        api, address = await self._start_api()
        cleanup.push_async_callback(api.stop)
        self.client = await cleanup.enter_async_context(httpx.AsyncClient(base_url=address, timeout=DEADLINE_S))
        await self.start_worker()
        cleanup.push_async_callback(self.stop_worker)
        self.tell(f"serving {address}, everything in {self.folder}")

    async def _start_api(self) -> tuple[Child, str]:
        log = self.folder / "api.log"
        with log.open("wb") as output:
            api = Child([sys.executable, "-m", "everpost.cli", "api"], env=self._environment(), output=output)
        await wait_for_log(log, b"api.serving", api, START_TIMEOUT_S)
        lines = log.read_text("utf-8").splitlines()
        for line in lines:
            event = msgspec.json.decode(line)
            if "[DB]" in event["event"]:
                self.tell(f"[dim]{event['event'].replace('[DB]', '(DB)')}[/dim]")
            if event["event"] == "api.serving":
                return api, event["address"]
        raise DemoFailedError("The API never logged its address.")

    async def start_worker(self) -> None:
        """Start the worker."""
        log = self.folder / "worker.log"
        with log.open("wb") as output:
            self.worker = Child([sys.executable, "-m", "everpost_workers"], env=self._environment(), output=output)
        await wait_for_log(log, b"worker.started", self.worker, START_TIMEOUT_S)

    async def stop_worker(self) -> None:
        """Stop the worker, if it runs."""
        if self.worker is not None:
            await self.worker.stop()
            self.worker = None

    def _environment(self) -> dict[str, str]:
        chosen = {"DATA": str(self.folder), "DATABASE": self.database, "REDIS": self.valkey.address}
        chosen |= {"PORT": "0", "LOG_FORMAT": "json"}
        set_here = {f"{PREFIX}{name}": value for name, value in chosen.items()}
        return {**dict.fromkeys(VARIABLES, ""), **set_here, **self.more_environment}

    def step(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.console.print(f"\n[bold]{self._steps}. {title}[/bold]")

    def tell(self, text: str) -> None:
        """Print what happens."""
        self.console.print(f"   {text}", soft_wrap=True)

    def check(self, holds: bool, sentence: str) -> None:
        """Print what was observed.

        Raises:
            DemoFailedError: It does not hold.
        """
        self.console.print(f"   [{'green' if holds else 'red'}]{'✓' if holds else '✗'}[/] {sentence}", soft_wrap=True)
        if not holds:
            raise DemoFailedError(sentence)

    async def publish(self, **task: Any) -> str:
        """Post a task and return its id."""
        answer = await self.client.post("/api/v1/publish", json=task)
        words, told = task.get("title", task.get("text")), answer.json().get("task_id", answer.text)
        self.check(answer.status_code == httpx.codes.ACCEPTED, f"POST /publish {words!r}: {answer.status_code} {told}")
        return str(answer.json()["task_id"])

    async def retry(self, task_id: str) -> dict[str, Any]:
        """Retry a task and return the answer."""
        answer = await self.client.post(f"/api/v1/tasks/retry/{task_id}")
        if answer.status_code != httpx.codes.OK:
            raise DemoFailedError(f"The retry of {task_id} was refused: {answer.text}")
        return cast("dict[str, Any]", answer.json())

    async def until_ended(self, task_id: str) -> dict[str, Any]:
        """Wait until a task has ended, and return it."""

        async def ended() -> dict[str, Any] | None:
            task = (await self.client.get(f"/api/v1/tasks/{task_id}", params={"wait": 5})).json()["data"]
            return task if task["status"] in ENDED else None

        return cast("dict[str, Any]", await until(ended, f"the end of {task_id}"))


async def until(condition: Callable[[], Awaitable[Found]], what: str) -> Found:
    """Wait until `condition` returns something true, and return that.

    Raises:
        DemoFailedError: It did not within `DEADLINE_S` seconds.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise DemoFailedError(f"{what} did not come within {DEADLINE_S:g} s")
        await asyncio.sleep(0.02)
    return found
