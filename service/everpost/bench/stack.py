"""The measured stack: an embedded Valkey, API and worker processes, all in one temporary folder."""

import asyncio
import http.client
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from everpost.bench.checks import WorkIncomplete
from everpost.bench.cost import cpu_s, most_resident_mb, tree_cpu_s
from everpost.children import Child
from everpost.embedded import EmbeddedValkey
from everpost.probe import ask, free_port
from everpost.queue.measured import MeasuredQueue
from everpost.settings import VARIABLES, Settings
from everpost.store import measured_store, scratch_store

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.002
HTTP_OK = 200

ACCEPTING = "bench"  # the platform whose tasks succeed
REFUSING = "bench-refusing"  # the platform whose tasks fail at once
SLOW = "bench-slow"  # the platform whose tasks take a while
WAITING = "bench-waiting"  # the platform of the backlog
LIMITED = "bench-limited"  # the platform with a limit for each account
HELD = "bench-held"  # the platform with a paused account
OPTIONS = {ACCEPTING: "", REFUSING: ", refuse = true", SLOW: ", takes_s = 0.5", WAITING: "", LIMITED: "", HELD: ""}
LIMITS = {LIMITED: "account_limits = { concurrency = 1, rates = [{ count = 2, per_s = 1 }] }"}
SLOTS = Settings().max_jobs  # slots of a worker

PLATFORM = """
[platforms.{name}]
id = {id}
publisher = "null"
options = {{ count_file = {count_file}{options} }}
{limits}
"""


class Server(msgspec.Struct, frozen=True):
    """A process of the stack, and the seconds from its start until it was ready."""

    child: Child
    took_s: float
    port: int = 0


class Cost(msgspec.Struct, frozen=True):
    """CPU seconds used so far by each kind of process; None if no such process runs, or the system does not tell."""

    api: float | None
    worker: float | None
    valkey: float | None
    database: float | None = None


class BenchStack:
    """Everpost on free ports and temporary files; `database` is a path or an address, and may be an existing one.

    Attributes:
        server: Where further stacks may get databases of their own; None if there is no server.
        store: The measured store.
        queue: The measured Redis, while the stack runs.
        apis, workers: The running processes.
        expected_calls: How many times the publishers must have been called when the workers have stopped.
        checked_beside: The calls of stacks that ran beside this one.
    """

    def __init__(self, folder: Path, database: Path | str | None = None, server: str | None = None) -> None:
        self.folder = folder
        self.server = server
        self.database = str(database or folder / "everpost.db")
        self.store = measured_store(self.database)
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.apis: list[Server] = []
        self.workers: list[Server] = []
        self.expected_calls = 0
        self.checked_beside = 0
        self._count_file = folder / "calls"
        self._catalogue = folder / "platforms.toml"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses of the APIs."""
        return [(HOST, api.port) for api in self.apis]

    @asynccontextmanager
    async def running(self, *, apis: int = 1, workers: int = 1) -> AsyncIterator["BenchStack"]:
        """Start this many processes, and stop all that run at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._catalogue.write_text(_catalogue(self._count_file), encoding="utf-8")
        async with AsyncExitStack() as cleanup:
            await self.valkey.start()
            cleanup.push_async_callback(self.valkey.stop)
            self.queue = MeasuredQueue(self.valkey.address)
            cleanup.push_async_callback(self.queue.close)
            cleanup.push_async_callback(self._stop)
            for _ in range(apis):
                await self.start_api()
            for _ in range(workers):
                await self.start_worker()
            yield self

    @asynccontextmanager
    async def beside(
        self, name: str, *, server: str | None, apis: int = 1, workers: int = 1
    ) -> AsyncIterator["BenchStack"]:
        """Run another stack at the same time, on a database of its own; check its calls at the end.

        Args:
            server: As for `new_database`.
        """
        folder = self.folder / name
        folder.mkdir()
        with new_database(server, folder) as database:
            async with BenchStack(folder, database, server).running(apis=apis, workers=workers) as other:
                yield other
                await other.stop_workers()
                other.check_calls()
            self.checked_beside += other.expected_calls

    async def start_api(self) -> Server:
        """Start one more API process, and wait until it answers."""
        port = free_port(HOST, 0)
        started = time.monotonic()
        child = self._spawn("api", EVERPOST_PORT=str(port))
        with child.starting():
            while not _answers(port):
                await _wait_for_start(child, started, "API")
        self.apis.append(Server(child, time.monotonic() - started, port))
        return self.apis[-1]

    async def start_worker(self) -> Server:
        """Start one more worker process, and wait until it reports that it is alive."""
        started = time.monotonic()
        child = self._spawn("worker")
        with child.starting():
            while not await self.queue.has_worker(child.pid):
                await _wait_for_start(child, started, "worker")
        self.workers.append(Server(child, time.monotonic() - started))
        return self.workers[-1]

    async def stop_apis(self) -> None:
        """Stop every API process."""
        while self.apis:
            await self.apis.pop().child.stop()

    async def stop_workers(self) -> None:
        """Stop every worker; `check_calls` then checks what they did."""
        while self.workers:
            await self.workers.pop().child.stop()

    def check_calls(self) -> None:
        """Compare the publishers' calls with the records, after the workers have stopped.

        Raises:
            WorkIncomplete: The number of calls differs from the number of recorded tasks.
        """
        counted = self._count_file.read_text("ascii") if self._count_file.exists() else ""
        calls = sum(int(line) for line in counted.split())
        if calls != self.expected_calls:
            raise WorkIncomplete(f"the publishers were called {calls} times for {self.expected_calls} recorded tasks")

    def cost(self) -> Cost:
        """The CPU time used so far."""
        valkey, server = self.valkey.child, self.store.server_pid()
        return Cost(
            api=_sum_cpu(self.apis),
            worker=_sum_cpu(self.workers),
            valkey=cpu_s(valkey.pid) if valkey else None,
            database=tree_cpu_s(server) if server else None,
        )

    def most_resident_mb(self) -> tuple[float | None, float | None]:
        """The largest memory of the first API and the first worker, in MB."""
        return most_resident_mb(self.apis[0].child.pid), most_resident_mb(self.workers[0].child.pid)

    async def _stop(self) -> None:
        for server in [*self.apis, *self.workers]:
            await server.child.stop()
        self.apis.clear()
        self.workers.clear()

    def _spawn(self, command: str, **settings: str) -> Child:
        log = self.folder / f"{command}.log"
        with log.open("ab") as output:
            argv = [sys.executable, "-P", "-m", "everpost.cli", command]
            return Child(argv, env=self._environment() | settings, output=output)

    def _environment(self) -> dict[str, str]:
        return dict.fromkeys(VARIABLES, "") | {
            "EVERPOST_DATA": str(self.folder),
            "EVERPOST_DATABASE": self.database,
            "EVERPOST_REDIS": self.valkey.address,
            "EVERPOST_PLATFORMS": str(self._catalogue),
            "EVERPOST_LOG_LEVEL": "warning",  # neither Everpost nor the peers write a line per task
        }


@contextmanager
def new_database(server: str | None, folder: Path) -> Iterator[str]:
    """The address of an empty store, which is removed afterwards.

    Args:
        server: The address of a server; None makes an SQLite file below `folder`.
    """
    if server is not None:
        with scratch_store(server) as address:
            yield address
        return
    with tempfile.TemporaryDirectory(prefix="database-", dir=folder) as made:
        yield str(Path(made) / "everpost.db")


def _catalogue(count_file: Path) -> str:
    quoted = msgspec.json.encode(str(count_file)).decode()
    return "".join(
        PLATFORM.format(name=name, id=900 + number, count_file=quoted, options=options, limits=LIMITS.get(name, ""))
        for number, (name, options) in enumerate(OPTIONS.items())
    )


def _sum_cpu(servers: list[Server]) -> float | None:
    used = [cpu_s(server.child.pid) for server in servers]
    return None if None in used else sum(seconds for seconds in used if seconds is not None)


def _answers(port: int) -> bool:
    try:
        return ask(HOST, port, "/health/live")[0] == HTTP_OK
    except (OSError, http.client.HTTPException):
        return False


async def _wait_for_start(child: Child, started_s: float, what: str) -> None:
    if child.exit_code is not None or time.monotonic() - started_s > START_TIMEOUT_S:
        raise TimeoutError(f"The {what} does not start; its log says why.")
    await asyncio.sleep(LOOK_EVERY_S)
