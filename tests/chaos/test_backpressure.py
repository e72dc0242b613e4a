"""Ten times more posts than capacity: accepted ones are carried out, and the others get 503.

Both answers come quickly, and refused posts take no memory.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from chaos_kit.dials import SECONDS
from chaos_kit.load import PUBLISH, SLOWEST_S, body_of
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from everpost.bench.load import LoadReport, LoadSpec, run_load
from everpost.publishing import PublisherClass
from everpost.task.place import Place

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CONNECTIONS = 50
POSTS = 2_000  # of one round
SLOTS = 4
DELAY_MS = 200  # one worker: 20 tasks a second at most
TIMES = 10
MAX_BACKLOG = 20
GROWTH_BYTES = 48 << 20


def request_of(body: object) -> bytes:
    encoded = msgspec.json.encode(body)
    head = f"POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded


async def send_round(scene: Scene, chance: random.Random) -> LoadReport:
    """Post as fast as the API answers, on many connections at once; refusals are the report's `wrong` answers."""
    first = len(scene.load.posted)
    bodies = {f"burst-{number}": body_of(f"burst-{number}", chance) for number in range(first, first + POSTS)}
    scene.load.posted |= bodies
    host, _, port = scene.addresses()[0].removeprefix("http://").rpartition(":")
    requests = [request_of(body) for body in bodies.values()]
    spec = LoadSpec(addresses=[(host, int(port))], requests=requests, count=POSTS, connections=CONNECTIONS)
    report = await run_load(spec)
    scene.load.acked |= dict.fromkeys(report.ids, "burst")
    return report


@asynccontextmanager
async def watched(processes: list[PythonProcess]) -> AsyncIterator[dict[str, int]]:
    """The most memory each process took meanwhile."""
    peaks = {process.name: process.resident_bytes for process in processes}

    async def watch() -> None:
        while True:
            for process in processes:
                peaks[process.name] = max(peaks[process.name], process.resident_bytes)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0, id="short"), pytest.param(SECONDS, id="long", marks=pytest.mark.chaos)]
)
async def test_a_burst_of_ten_times_the_capacity_is_refused_beyond_the_capacity(tmp_path: Path, seconds: float) -> None:
    scene = Scene(
        tmp_path, seed=7, publisher_class=PublisherClass.NONE, workers=1, slots=SLOTS, delay_ms=DELAY_MS,
        settings={"EVERPOST_MAX_BACKLOG": str(MAX_BACKLOG)},
    )  # fmt: skip
    async with playing(scene):
        processes = [*scene.apis, *scene.workers]
        before = {process.name: process.resident_bytes for process in processes}
        began = time.monotonic()
        async with watched(processes) as peaks:
            while True:
                report = await send_round(scene, scene.chance)
                assert report.wrong, "no task was refused"
                assert "503" in report.example
                assert "retry-after: " in report.example.lower()
                p99_s = sorted(report.waits_s)[len(report.waits_s) * 99 // 100]
                assert p99_s < SLOWEST_S
                assert (
                    scene.kit.count(Place.LEDGER) <= MAX_BACKLOG + CONNECTIONS
                )  # what was on its way when they were counted
                if time.monotonic() - began >= seconds:
                    break
            took_s = time.monotonic() - began
        assert len(scene.load.posted) / took_s >= TIMES * SLOTS * 1000 / DELAY_MS
        growth = {name: peak - before[name] for name, peak in peaks.items()}
        sys.stdout.write(f"\np99_s={p99_s:.3f} growth_bytes={growth}")
        assert max(growth.values()) < GROWTH_BYTES, growth
        assert len(scene.load.acked) >= MAX_BACKLOG
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.unanswered == 0
