"""The processes under test: an API, a worker and a Valkey that are killed, stopped and restarted."""

import asyncio
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from resource import prlimit
from types import MappingProxyType
from typing import IO

import msgspec
from redis.asyncio import Redis

from chaos_kit.nursery import TESTS, nursery
from everpost.children import Child, wait_for_log
from everpost.embedded import EmbeddedValkey
from everpost.failpoints import Action, hit_of
from everpost.publishing import PublisherClass
from everpost.testing import eventually

START_TIMEOUT_S = 30
STOPPED_WITHIN_S = 10
STOPPED_STATES = frozenset("TXZ")  # stopped, or ended


@contextmanager
def frozen(child: Child | None) -> Iterator[None]:
    """SIGSTOP at the beginning, SIGCONT at the end. No thread of the process runs in between."""
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    try:
        _wait_for_threads_to_stop(child.pid)
        yield
    finally:
        os.kill(child.pid, signal.SIGCONT)


def _wait_for_threads_to_stop(pid: int) -> None:
    """Wait for the kernel, which stops one thread after the other; on a busy machine, one may still write meanwhile."""
    deadline_s = time.monotonic() + STOPPED_WITHIN_S
    while running := [state for state in states_of_threads(pid) if state not in STOPPED_STATES]:
        assert time.monotonic() < deadline_s, f"threads of {pid} still run: {running}"
        os.sched_yield()


def states_of_threads(pid: int) -> list[str]:
    """A letter for each living thread of a process, as in proc_pid_stat(5); empty where there is no /proc."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            states.append(stat.read_text("ascii", "replace").rpartition(")")[2].split()[0])
    return states


class PythonProcess:
    """A Python program that logs in JSON when it is ready; one log file per start.

    Args:
        name: Of its log files.
        ready: The log event that means "ready".
        without: A guard that it lacks, see `without.py`.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        settings: Mapping[str, str],
        ready: str,
        without: str | None = None,
    ) -> None:
        self.name = name
        self.points = folder / "points" / name
        self.points.mkdir(parents=True)
        self._folder = folder
        self._ready = ready
        self._starts = 0
        self._arguments = [*(("chaos_kit.without", without) if without else ()), *arguments]
        # The tests' own EVERPOST_ variables are not settings of the programs.
        usual = {key: value for key, value in os.environ.items() if not key.startswith("EVERPOST_")}
        own = {"PYTHONPATH": str(TESTS), "EVERPOST_FAILPOINTS": str(self.points)}
        self._environment = {**usual, **own, **settings}
        self._program: Sequence[str] = ()
        self.child: Child | None = None

    @property
    def log(self) -> Path:
        """Its log file since its last start."""
        return self._folder / f"{self.name}-{self._starts}.log"

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.exit_code is None

    @property
    def resident_bytes(self) -> int:
        """Its resident memory."""
        assert self.child is not None
        pages = Path(f"/proc/{self.child.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()

    def said_since(self, size: int) -> bytes:
        """The content of its log after `size` bytes."""
        with self.log.open("rb") as log:
            log.seek(size)
            return log.read()

    def set(self, name: str, value: str) -> None:
        """Give it another setting, from its next start."""
        self._environment[name] = value

    def run_with(self, program: Sequence[str]) -> None:
        """Let another program run it: `setpriv` with its options."""
        self._program = [*program, *self._program]

    def run_code_of(self, folders: Sequence[Path]) -> None:
        """Let it run other code than this process's: its modules are in these folders."""
        self._environment["PYTHONPATH"] = os.pathsep.join(map(str, folders))
        self.run_with(["env"])  # not as a fork

    def move_to_host(self, clock_ahead_s: float = 0.0, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Let its next start be on a host with another wall clock, or with other settings."""
        self._environment |= settings
        self._arguments[:0] = ["chaos_kit.host_clock", str(clock_ahead_s)]

    async def start(self, *, ready: str | None = None) -> None:
        """Start it, and return when it is ready, or has logged another event that is waited for."""
        self._starts += 1
        with self.log.open("wb") as output:
            self.child = self._begin(output)
        await wait_for_log(self.log, (ready or self._ready).encode(), self.child, START_TIMEOUT_S)

    def _begin(self, output: IO[bytes]) -> Child:
        if self._program or "LD_PRELOAD" in self._environment:  # what a fork has loaded already cannot be changed
            environment = [f"{key}={value}" for key, value in self._environment.items()]
            argv = [*self._program, "env", "-i", *environment, sys.executable, "-m", *self._arguments]
            return Child(argv, output=output)
        return nursery().start(self._arguments, self._environment, output)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.child is not None:
            self.child.kill()

    def limit(self, resource: int, value: int) -> None:
        """Lower one of its limits, or raise it again; see `resource`."""
        assert self.child is not None
        hard = prlimit(self.child.pid, resource)[1]
        prlimit(self.child.pid, resource, (value, hard))

    async def stop(self) -> int:
        """Send SIGTERM, wait, and return its exit code."""
        return 0 if self.child is None else await self.child.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a while."""
        with frozen(self.child):
            yield

    def arm(self, point: str, action: Action = Action.KILL) -> None:
        """Make it carry out an action when it next reaches a point."""
        hit_of(self.points / point).unlink(missing_ok=True)
        made = self.points / "made"
        made.write_text(action, encoding="ascii")
        made.rename(self.points / point)

    def disarm(self, point: str) -> None:
        """Let it pass a point that it has not reached yet."""
        (self.points / point).unlink()

    def is_at(self, point: str) -> bool:
        """Whether it has reached the point, and was not told to go on."""
        return hit_of(self.points / point).exists()

    def go_on(self, point: str) -> None:
        """Let it continue from a point at which it pauses."""
        hit_of(self.points / point).unlink()

    async def reached(self, point: str) -> None:
        """Wait until it has reached the point."""

        async def is_hit() -> bool:
            return self.is_at(point)

        await eventually(is_hit, what=f"{self.name} at {point}")

    def tracebacks(self) -> list[str]:
        """The log lines of all its starts that report a defect."""
        logs = sorted(self._folder.glob(f"{self.name}-*.log"))
        lines = [line for log in logs for line in log.read_text("utf-8", errors="replace").splitlines()]
        return [line for line in lines if '"request.crashed"' in line or "Traceback" in line]


class Api(PythonProcess):
    """An `everpost api` on a free port, with another port after each start."""

    def __init__(self, name: str, *, folder: Path, settings: Mapping[str, str], without: str | None = None) -> None:
        arguments = ["everpost.cli", "api"]
        super().__init__(name, arguments, folder=folder, settings=settings, ready='"api.serving"', without=without)
        self._found: tuple[Path, str] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it has logged its address."""
        return self._look_up_address() is not None

    @property
    def address(self) -> str:
        """Its address."""
        address = self._look_up_address()
        assert address is not None
        return address

    def _look_up_address(self) -> str | None:
        """The address in its log; remembered, because each post of a load needs it."""
        if self._found is None or self._found[0] != self.log:
            lines = [line for line in self.log.read_bytes().splitlines(keepends=True) if b'"api.serving"' in line]
            if not lines or not lines[0].endswith(b"\n"):
                return None
            self._found = (self.log, str(msgspec.json.decode(lines[0])["address"]))
        return self._found[1]


class Worker(PythonProcess):
    """A worker whose publisher keeps its effects in a file."""

    def __init__(
        self,
        name: str,
        *,
        folder: Path,
        settings: Mapping[str, str],
        effects: Path,
        publisher_class: PublisherClass,
        delay_ms: int,
        without: str | None = None,
    ) -> None:
        arguments = ["chaos_kit.effects_worker", str(effects), publisher_class.value, str(delay_ms)]
        super().__init__(name, arguments, folder=folder, settings=settings, ready='"worker.started"', without=without)


class Valkey(EmbeddedValkey):
    """A Valkey with an append-only file, whose end or whole content can be lost."""

    @property
    def append_only_file(self) -> Path:
        """The part of the file that grows."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"))

    def size(self) -> int:
        """The number of bytes written."""
        return self.append_only_file.stat().st_size

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self.child is not None
        self.child.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a while."""
        with frozen(self.child):
            yield

    def lose_tail(self, size: int) -> None:
        """Cut the file back to an earlier size; kill -9 alone loses nothing, because the kernel has the data."""
        os.truncate(self.append_only_file, size)

    async def restart_empty(self) -> None:
        """Start another, empty server at the same address."""
        await asyncio.to_thread(shutil.rmtree, self.folder / "appendonlydir")
        await self.start()

    def keep_copy(self) -> None:
        """Keep a copy of what it has written so far, for `put_back_copy`."""
        shutil.copytree(self.folder / "appendonlydir", self.folder / "copy", dirs_exist_ok=True)

    def put_back_copy(self) -> None:
        """Make its next start use the copy of `keep_copy`."""
        shutil.rmtree(self.folder / "appendonlydir")
        (self.folder / "copy").rename(self.folder / "appendonlydir")

    @asynccontextmanager
    async def unable_to_save(self, redis: "Redis") -> AsyncIterator[None]:
        """Make every snapshot fail for a while, as with a full disk; it refuses all writes then."""
        in_the_way = self.folder / "dump.rdb"
        in_the_way.mkdir()
        await redis.config_set("save", "3600 1")
        await redis.bgsave()
        await eventually(lambda: self._last_save(redis, "err"), what="a snapshot that fails")
        try:
            yield
        finally:
            in_the_way.rmdir()
            await redis.bgsave()
            await eventually(lambda: self._last_save(redis, "ok"), what="a snapshot")
            await redis.config_set("save", "")

    async def _last_save(self, redis: "Redis", status: str) -> bool:
        return bool((await redis.info("persistence"))["rdb_last_bgsave_status"] == status)
