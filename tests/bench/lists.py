"""Measures pages and lists over HTTP beside very many tasks: how long each takes, and what it costs the API.

    .venv/bin/python tests/bench/lists.py 1000000 10000000
    .venv/bin/python tests/bench/lists.py 1000000 --database postgresql://everpost@127.0.0.1/postgres

One in ten tasks has failed; 200,000 more failed within the last day, in 200 groups. Each question is asked with its
count, 200 times in turns with the others. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import httpx
import msgspec

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "docs_site")]

from chaos_kit.processes import Api, Valkey  # noqa: E402 - it is found by the path above
from everpost.bench.machine import describe_machine, machine_line  # noqa: E402 - as above
from everpost.clock import DAY_MS, to_text  # noqa: E402 - as above
from everpost.store import measured_store, open_store, scratch_store  # noqa: E402 - as above
from marked_text import row, write_between  # noqa: E402 - as above

FAILURES = 200_000
PLATFORMS, ACCOUNTS = 8, 25
ASKED = 200
DEEP = 40  # pages of 1,000 behind which the deep page is
HZ = os.sysconf("SC_CLK_TCK")
DOCUMENT = TESTS.parent / "docs" / "benchmarks.md"
HTML = {"accept": "text/html"}
QUESTIONS = {
    "the console's first page": "/",
    "its list of tasks": "/tasks",
    "all tasks": "/api/v1/tasks?",
    "far behind the first page": "/api/v1/tasks?cursor={cursor}",
    "`status=failed`": "/api/v1/tasks?status=failed",
    "`status=unknown`, which no task has": "/api/v1/tasks?status=unknown",
    "`platform`, of nine tenths": "/api/v1/tasks?platform=bench",
    "`account_id`, of a thousandth": "/api/v1/tasks?account_id=account7",
    "`account_id`, which no task has": "/api/v1/tasks?account_id=missing",
    "`error_class`": "/api/v1/tasks?error_class=invalid",
    "`error_class` and `account_id`": "/api/v1/tasks?error_class=invalid&account_id=account10",
    "`cause`, of the whole day's failures": "/api/v1/tasks?cause={cause}",
    "`cause`, `platform`, `account_id`": "/api/v1/tasks?cause={cause}&platform=bench0&account_id=a0",
    "`created_after`, an hour ago": "/api/v1/tasks?created_after={hour_ago}",
    "`created_before`, among the oldest": "/api/v1/tasks?created_before={oldest}",
    "failures of a day, grouped": "/api/v1/failures?since=24h",
}


class Asked(NamedTuple):
    """The milliseconds that a question took: the median, and the 99th of a hundred; and the CPU of the API for one."""

    p50: float
    p99: float
    cpu: float


def say(text: str) -> None:
    """Print the progress."""
    sys.stderr.write(f"{text}\n")


async def fill(address: str, rows: int) -> None:
    """Make the history, and give all failures their causes, as a worker's upkeep does."""
    store = measured_store(address)
    store.fill_history(rows, say)
    now_ms, each = int(time.time() * 1_000), FAILURES // (PLATFORMS * ACCOUNTS)
    for number in range(PLATFORMS * ACCOUNTS):
        data = {"platform": f"bench{number % PLATFORMS}", "account_id": f"a{number // PLATFORMS}", "title": "t"}
        ended_ms = now_ms - DAY_MS * (number + 1) // (PLATFORMS * ACCOUNTS + 1)
        store.add_failed(each, msgspec.json.encode(data), ended_ms)
    store.leave_nothing_to_do()
    opened = await open_store(address)
    try:
        while await opened.failures.fill(now_ms, 10_000):
            await opened.care.tend(now_ms)
    finally:
        await opened.close()


@asynccontextmanager
async def serving(folder: Path, address: str) -> AsyncIterator[Api]:
    """An API process on the store."""
    valkey = Valkey(folder / "valkey", durable=False)
    await valkey.start()
    catalogue = folder / "platforms.toml"
    names = ("bench", "bench-refusing", *(f"bench{number}" for number in range(PLATFORMS)))
    tables = (f'[platforms.{name}]\nid = {100 + number}\npublisher = "folder"\n' for number, name in enumerate(names))
    catalogue.write_text("".join(tables), "utf-8")
    settings = {
        "EVERPOST_PLATFORMS": str(catalogue),
        "EVERPOST_DATA": str(folder),
        "EVERPOST_DATABASE": address,
        "EVERPOST_REDIS": valkey.address,
        "EVERPOST_PORT": "0",
        "EVERPOST_LOG_FORMAT": "json",
        "EVERPOST_MIN_FREE_DISK": "0",
    }
    api = Api("api0", folder=folder, settings=settings)
    try:
        await api.start()
        yield api
    finally:
        api.kill()
        await valkey.stop()


def cpu_s(api: Api) -> float:
    """The CPU that the process has used."""
    assert api.child is not None
    fields = Path(f"/proc/{api.child.pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


async def measure(api: Api) -> dict[str, Asked]:
    """Ask each question, in turns with the others."""
    async with httpx.AsyncClient(base_url=api.address, timeout=30, headers=HTML) as client:
        given = await known_of(client)
        paths = {name: path.format(**given) for name, path in QUESTIONS.items()}
        took: dict[str, list[float]] = {name: [] for name in paths}
        cpu = dict.fromkeys(paths, 0.0)
        for _ in range(ASKED // 20):
            for name, path in paths.items():
                before = cpu_s(api)
                for _ in range(20):
                    began = time.perf_counter()
                    answer = await client.get(path)
                    took[name].append((time.perf_counter() - began) * 1_000)
                    assert answer.status_code == httpx.codes.OK, answer.text
                cpu[name] += cpu_s(api) - before
    cuts = {name: quantiles(times, n=100) for name, times in took.items()}
    return {name: Asked(cuts[name][49], cuts[name][98], 1_000 * cpu[name] / ASKED) for name in paths}


async def known_of(client: httpx.AsyncClient) -> dict[str, str]:
    """What the questions name."""
    cursor = ""
    for _ in range(DEEP):
        page = (
            await client.get("/api/v1/tasks", params={"limit": 1_000} | ({"cursor": cursor} if cursor else {}))
        ).json()
        cursor = page["next_cursor"]
    failures = (await client.get("/api/v1/failures")).json()
    assert failures["total"] == FAILURES, failures["total"]
    hour_ago = to_text(int(time.time() * 1_000) - 3_600_000)
    return {
        "cursor": cursor,
        "cause": failures["data"][0]["cause"],
        "hour_ago": hour_ago,
        "oldest": "2025-01-01T12:00:00Z",
    }


async def measured(folder: Path, address: str, rows: int) -> dict[str, Asked]:
    """The answers beside so many tasks."""
    await fill(address, rows)
    async with serving(folder, address) as api:
        return await measure(api)


@contextmanager
def empty_store(database: str | None, folder: Path) -> Iterator[str]:
    """The address of a store for one size."""
    with ExitStack() as stack:
        yield stack.enter_context(scratch_store(database)) if database else str(folder / "everpost.db")


def table(sizes: Sequence[int], found: Sequence[dict[str, Asked]], folder: Path, name: str) -> str:
    """The table for the document."""
    told = machine_line(describe_machine(folder), {"store": name})
    head = [
        "question, with 50 tasks and their count",
        *(f"{size:,} tasks: p50 / p99 ms, API's CPU ms" for size in sizes),
    ]
    lines = [row(*head), row(*["---"] * len(head))]
    for question in QUESTIONS:
        cells = (f"{one.p50:.1f} / {one.p99:.1f}, {one.cpu:.1f}" for one in (each[question] for each in found))
        lines.append(row(question, *cells))
    return "\n".join([f"{ASKED} times each. {told}", "", *lines])


async def main() -> None:
    """Measure each size in a store of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+", help="tasks of the history")
    parser.add_argument("--database", help="a PostgreSQL server, for databases of its own")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(dir=given.folder) as path:
        for rows in given.rows:
            folder = Path(path) / str(rows)
            folder.mkdir()
            with empty_store(given.database, folder) as address:
                found.append(await measured(folder, address, rows))
        store = "postgresql" if given.database else "sqlite"
        text = table(given.rows, found, Path(path), store)
    sys.stdout.write(f"{text}\n")
    if given.write:
        name = f"lists on {store}"
        DOCUMENT.write_text(write_between(DOCUMENT.read_text("utf-8"), text, name), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
