"""Measures streams of events: thousands of readers of one API, its memory and CPU, and how late events come.

    .venv/bin/python tests/bench/event_readers.py --readers 5000 --tasks 500 --rate 50

The readers are in a process of their own; one in fifty notes when events come. The delay of an event is from the
record of the end, which the worker logs, to the reader.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import httpx

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from chaos_kit.processes import Api, Valkey, Worker  # noqa: E402 - it is found by the path above
from everpost.publishing import PublisherClass  # noqa: E402
from everpost.testing import eventually  # noqa: E402

HEAD = "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
AT_ONCE = 100
WARM_TASKS = 50
QUIET_S = 15.0  # for which the CPU of readers that are sent nothing is measured
SILENT_S = 0.5
HZ = os.sysconf("SC_CLK_TCK")


class Reading(asyncio.Protocol):
    """One reader: it counts bytes; the first ones also note when each end came."""

    connected = 0
    received = 0
    ended = 0

    def __init__(self, path: str, arrivals: dict[str, list[float]] | None) -> None:
        self._path = path
        self._arrivals = arrivals
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(HEAD.format(path=self._path).encode())

    def data_received(self, data: bytes) -> None:
        now_s = time.time()
        if b": connected" in data:
            Reading.connected += 1
        Reading.received += len(data)
        Reading.ended += data.count(b"event: task.ended")
        if self._arrivals is None:
            return
        self._text += data
        *whole, self._text = self._text.split(b"\n\n")
        for event in whole:
            if b"event: task.ended" in event:
                told = json.loads(event.partition(b"data: ")[2].partition(b"\n")[0].strip())
                self._arrivals.setdefault(told["task_id"], []).append(now_s)


async def read(port: int, readers: int, path: str) -> None:
    """The process of the readers: says when all are connected, and at the end of its input what came."""
    arrivals: dict[str, list[float]] = {}
    loop = asyncio.get_running_loop()
    every = max(1, readers // 50)
    for start in range(0, readers, AT_ONCE):
        some = range(start, min(start + AT_ONCE, readers))
        made = [partial(Reading, path, None if number % every else arrivals) for number in some]
        await asyncio.gather(*(loop.create_connection(reader, "127.0.0.1", port) for reader in made))
    await eventually(lambda: has_connected(readers), what=f"{readers} connections")
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    await until_silent()
    told = {"ended": Reading.ended, "megabytes": round(Reading.received / 1e6, 1), "arrivals": arrivals}
    sys.stdout.write(json.dumps(told) + "\n")


async def has_connected(readers: int) -> bool:
    return Reading.connected >= readers


async def until_silent() -> None:
    """Wait until no reader was sent anything for a while, keep-alives aside."""
    before = -1
    while before != Reading.ended:
        before = Reading.ended
        await asyncio.sleep(SILENT_S)


def recorded_at(log: Path) -> dict[str, float]:
    """When each end was recorded, as the worker logged it right after."""
    lines = (json.loads(line) for line in log.read_text("utf-8").splitlines() if '"task.completed"' in line)
    return {line["task_id"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}


class Cost(NamedTuple):
    """What a process has in memory, and the CPU seconds it has used."""

    resident_mb: float
    cpu_s: float


def cost_of(pid: int) -> Cost:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    stat = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return Cost(int(line.split()[1]) / 1024, (int(stat[11]) + int(stat[12])) / HZ)


@asynccontextmanager
async def stack(folder: Path) -> AsyncIterator[tuple[Valkey, Api, Worker]]:
    valkey = Valkey(folder / "valkey", durable=True)
    await valkey.start()
    settings = {
        "EVERPOST_DATA": str(folder),
        "EVERPOST_DATABASE": str(folder / "everpost.db"),
        "EVERPOST_REDIS": valkey.address,
        "EVERPOST_PORT": "0",
        "EVERPOST_LOG_FORMAT": "json",
        "EVERPOST_MIN_FREE_DISK": "0",
    }
    api = Api("api0", folder=folder, settings=settings)
    effects = folder / "effects.jsonl"
    telling = {**settings, "EVERPOST_LOG_LEVEL": "debug"}
    worker = Worker(
        "worker0", folder=folder, settings=telling, effects=effects, publisher_class=PublisherClass.NONE, delay_ms=5
    )
    try:
        await asyncio.gather(api.start(), worker.start())
        yield valkey, api, worker
    finally:
        for process in (api, worker):
            process.kill()
        await valkey.stop()


async def measure(readers: int, tasks: int, rate: float, path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with stack(Path(folder)) as (_, api, worker), httpx.AsyncClient(base_url=api.address) as client:
            assert api.child is not None
            await send(client, WARM_TASKS, math.inf)
            await until_ended(worker.log, WARM_TASKS)
            idle = cost_of(api.child.pid)
            began_s = time.monotonic()
            clients = await start_readers(api.address.rpartition(":")[2], readers, path)
            connected_s = time.monotonic() - began_s
            quiet = cost_of(api.child.pid)
            await asyncio.sleep(QUIET_S)
            busy = cost_of(api.child.pid)
            await send(client, tasks, rate)
            await until_ended(worker.log, WARM_TASKS + tasks)
            told, _ = await clients.communicate(b"\n")
            over = cost_of(api.child.pid)
            seen, recorded = json.loads(told), recorded_at(worker.log)
            delays_ms = [(at - recorded[one]) * 1000 for one, some in seen["arrivals"].items() for at in some]
            line = {
                "readers": readers,
                "tasks": tasks,
                "rate": rate,
                "connected_s": round(connected_s, 1),
                "api_mb_without": round(idle.resident_mb, 1),
                "api_mb_with": round(quiet.resident_mb, 1),
                "kb_per_reader": round((quiet.resident_mb - idle.resident_mb) * 1024 / readers, 1),
                "api_mb_after": round(over.resident_mb, 1),
                "cpu_share_quiet": round((busy.cpu_s - quiet.cpu_s) / QUIET_S, 3),
                "cpu_s_busy": round(over.cpu_s - busy.cpu_s, 2),
                "us_per_delivery": round((over.cpu_s - busy.cpu_s) * 1e6 / max(1, seen["ended"] * 3), 1),
                "ends_told": seen["ended"],
                "delay_ms": percentiles(delays_ms),
            }
            sys.stdout.write(json.dumps(line) + "\n")


async def start_readers(port: str, readers: int, path: str) -> asyncio.subprocess.Process:
    """The process of the readers, all of which are connected."""
    arguments = [sys.executable, __file__, "--read", port, "--readers", str(readers), "--path", path]
    pipes: dict[str, Any] = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    clients = await asyncio.create_subprocess_exec(*arguments, **pipes, limit=1 << 26)
    assert clients.stdout is not None
    await clients.stdout.readline()
    return clients


async def send(client: httpx.AsyncClient, tasks: int, rate: float) -> None:
    """Post tasks at a rate, whether or not the earlier ones were answered."""
    loop, start_s = asyncio.get_running_loop(), time.monotonic()
    posts = []
    for number in range(tasks):
        await asyncio.sleep(max(0.0, start_s + number / rate - time.monotonic()))
        posts.append(loop.create_task(client.post("/api/v1/publish", json=body(number))))
    for answer in await asyncio.gather(*posts):
        answer.raise_for_status()


async def until_ended(log: Path, tasks: int) -> None:
    """Wait until the worker has recorded the ends of so many tasks."""

    async def has_all() -> bool:
        return len(recorded_at(log)) >= tasks

    await eventually(has_all, timeout_s=60.0, what=f"the ends of {tasks} tasks")


def percentiles(values: list[float]) -> dict[str, float]:
    marks = quantiles(values, n=100)
    return {"p50": round(marks[49], 1), "p99": round(marks[98], 1), "max": round(max(values), 1)}


def body(number: int) -> dict[str, Any]:
    return {"platform": 1, "account_id": f"account{number % 50}", "title": f"title {number}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=5_000)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--path", default="/api/v1/events")
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        asyncio.run(read(given.read, given.readers, given.path))
    else:
        asyncio.run(measure(given.readers, given.tasks, given.rate, given.path))


if __name__ == "__main__":
    main()
