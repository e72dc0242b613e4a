"""Measures streams of events: thousands of readers of one API, its memory and CPU, and how late events come.

    .venv/bin/python tests/bench/event_readers.py --readers 5000 --tasks 500 --rate 50

The readers are in a process of their own; one in fifty notes when events come. The delay of an event is from the
record of the end, which the worker logs, to the reader.
"""

import argparse
import asyncio
import json
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
from typing import Any

import httpx

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from chaos_kit.processes import Api, Valkey, Worker  # noqa: E402 - it is found by the path above
from everpost.publishing import PublisherClass  # noqa: E402

HEAD = "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
AT_ONCE = 100
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
    while Reading.connected < readers:  # noqa: ASYNC110 - the count is a class's, for speed
        await asyncio.sleep(0.05)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    told = {"ended": Reading.ended, "megabytes": round(Reading.received / 1e6, 1), "arrivals": arrivals}
    sys.stdout.write(json.dumps(told) + "\n")


def recorded_at(log: Path) -> dict[str, float]:
    """When each end was recorded, as the worker logged it right after."""
    lines = (json.loads(line) for line in log.read_text("utf-8").splitlines() if '"task.completed"' in line)
    return {line["task_id"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}


def cost_of(pid: int) -> tuple[float, float]:
    """Its resident megabytes, and the CPU seconds it has used."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    stat = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024, (int(stat[11]) + int(stat[12])) / HZ


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
            for number in range(50):
                await client.post("/api/v1/publish", json=body(number))
            await asyncio.sleep(1)
            idle_mb, _ = cost_of(api.child.pid)
            port = api.address.rpartition(":")[2]
            arguments = [sys.executable, __file__, "--read", port, "--readers", str(readers), "--path", path]
            pipes: dict[str, Any] = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
            began_s = time.monotonic()
            clients = await asyncio.create_subprocess_exec(*arguments, **pipes, limit=1 << 26)
            assert clients.stdout is not None
            await clients.stdout.readline()
            connected_s = time.monotonic() - began_s
            await asyncio.sleep(2)
            with_mb, before_s = cost_of(api.child.pid)
            await asyncio.sleep(15)
            quiet_mb, after_s = cost_of(api.child.pid)
            loop, start_s = asyncio.get_running_loop(), time.monotonic()
            for number in range(tasks):
                await asyncio.sleep(max(0.0, start_s + number / rate - time.monotonic()))
                loop.create_task(client.post("/api/v1/publish", json=body(number)))
            await asyncio.sleep(5)
            busy_mb, busy_s = cost_of(api.child.pid)
            told, _ = await clients.communicate(b"\n")
            seen = json.loads(told)
            recorded = recorded_at(worker.log)
            delays = sorted((at - recorded[one]) * 1000 for one, some in seen["arrivals"].items() for at in some)
            marks = quantiles(delays, n=100)
            line = {
                "readers": readers,
                "tasks": tasks,
                "rate": rate,
                "connected_s": round(connected_s, 1),
                "api_mb_without": round(idle_mb, 1),
                "api_mb_with": round(with_mb, 1),
                "kb_per_reader": round((with_mb - idle_mb) * 1024 / readers, 1),
                "api_mb_after": round(busy_mb, 1),
                "cpu_share_quiet": round((after_s - before_s) / 15, 3),
                "cpu_s_busy": round(busy_s - after_s, 2),
                "us_per_delivery": round((busy_s - after_s) * 1e6 / max(1, seen["ended"] * 3), 1),
                "ends_told": seen["ended"],
                "delay_ms": {
                    "p50": round(marks[49], 1),
                    "p99": round(marks[98], 1),
                    "max": round(delays[-1], 1),
                },
            }
            del quiet_mb
            sys.stdout.write(json.dumps(line) + "\n")


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
