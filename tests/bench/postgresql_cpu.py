"""PostgreSQL's CPU a task in several trees of this repository, in turns on one server.

python tests/bench/postgresql_cpu.py [--tasks N] [--turns N] [--rows N] TREE[:FILE.sql] ...

Each tree accepts, claims, sends and ends tasks through its own store, without Redis and HTTP, on a database of its own.
A file's statements run on that after the tables were made. The others are compared with the first tree. The ratio is of
neighbouring turns, so a machine whose speed changes affects all trees.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from everpost.bench.cost import cpu_s, tree_cpu_s
from everpost.bench.traffic import TASK
from everpost.clock import to_text
from everpost.logs import configure_logging
from everpost.settings import Settings
from everpost.store import Store, open_store
from everpost.task.model import Attempt, Task, TaskRecord, TaskStatus, columns_of, new_task_id

PARTS = ("accept", "claim", "send", "end")
IN_FLIGHT = 3  # batches between one that is accepted and the one that ends
TURN = b"turn\n"
DATA: Mapping[str, Any] = {"platform": "bench", **TASK}
WORKER = "w-0123456789abcdef"


class Life:
    """Tasks in batches through their whole life, on one store as an API has it and one as a worker has it."""

    def __init__(self, api: Store, worker: Store, pids: Sequence[int], rows: int) -> None:
        self._api, self._worker, self._pids, self._rows = api.ledger, worker.ledger, pids, rows
        self._used_s = dict.fromkeys(PARTS, 0.0)

    async def turn(self, count: int) -> dict[str, float]:
        """Let at least `count` tasks live; microseconds of CPU a task, of each part and of this client."""
        self._used_s = dict.fromkeys(PARTS, 0.0)
        batches = -(-count // self._rows)
        before_s = time.process_time()
        waiting: list[list[Task]] = []
        for number in range(batches + IN_FLIGHT):
            if number < batches:
                waiting.append(await self._accept())
            if number >= IN_FLIGHT:
                await self._run(waiting.pop(0))
        used_s = self._used_s | {"client": time.process_time() - before_s, "sum": sum(self._used_s.values())}
        return {name: 1e6 * seconds / (batches * self._rows) for name, seconds in used_s.items()}

    async def _accept(self) -> list[Task]:
        now_ms = time.time_ns() // 1_000_000
        data = json.dumps(DATA, ensure_ascii=False).encode()
        names = {name: DATA[name] for name in ("platform", "account_id", "title")}
        made = [
            Task(
                task_id=new_task_id(now_ms), created_at_ms=now_ms, task_data=data, accepted_by="api-0123456789", **names
            )
            for _ in range(self._rows)
        ]
        await self._counted("accept", self._api.accept(made, now_ms))
        return made

    async def _run(self, tasks: Sequence[Task]) -> None:
        ledger, now_ms = self._worker, time.time_ns() // 1_000_000
        claimed = await self._counted("claim", ledger.check_claims({task.task_id: task.task_data for task in tasks}))
        assert len(claimed.known) == len(tasks)
        begun = await self._counted("send", _all(ledger.begin_send(task.task_id, 1, now_ms) for task in tasks))
        assert all(begun)
        assert await self._counted("end", ledger.end([_record_of(task, now_ms) for task in tasks])) == []

    async def _counted(self, part: str, work: Awaitable[Any]) -> Any:
        before_s = self._cpu_s()
        answer = await work
        self._used_s[part] += self._cpu_s() - before_s
        return answer

    def _cpu_s(self) -> float:
        return sum(cpu_s(pid) or 0.0 for pid in self._pids)


async def _all(each: Iterator[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*each)


def _record_of(task: Task, now_ms: int) -> TaskRecord:
    """The record of a success, as a worker makes it."""
    now = to_text(now_ms)
    return TaskRecord(
        task_id=task.task_id,
        status=TaskStatus.SUCCESS,
        columns=columns_of(DATA),
        queued_at_ms=task.created_at_ms,
        started_at_ms=now_ms,
        finished_at_ms=now_ms,
        attempt=Attempt(number=1, started_at=now, finished_at=now, outcome=TaskStatus.SUCCESS, worker=WORKER),
        result="{}",
        provider_post_id=f"null-{task.task_id}",
    )


async def serve(address: str, statements: str, rows: int, tasks: int) -> None:
    """Answer each line of the standard input with the figures of a turn, as JSON."""
    configure_logging(Settings(), at_least="warning")
    api = await open_store(address)
    worker = await open_store(address)
    with psycopg.connect(address, autocommit=True) as admin:
        if statements:
            admin.execute(statements.encode())
        await Life(api, worker, [], rows).turn(rows)  # opens every connection
        own = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        life = Life(api, worker, [pid for (pid,) in admin.execute(own)], rows)
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(json.dumps(await life.turn(tasks)) + "\n")
        sys.stdout.flush()
    await worker.close()
    await api.close()


@contextmanager
def side(tree: str, address: str, asked: argparse.Namespace) -> Iterator["subprocess.Popen[bytes]"]:
    """The process of one tree."""
    folder, _, file = tree.partition(":")
    statements = Path(file).read_text(encoding="utf-8") if file else ""
    paths = os.pathsep.join(str(Path(folder).resolve() / part) for part in ("service", "workers", "tests"))
    given = [statements, str(asked.rows), str(asked.tasks)]
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, "--serve", address, *given],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def read(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """The process's next answer."""
    assert process.stdout is not None
    found: dict[str, float] = json.loads(process.stdout.readline() or "null")
    return found


def ask(process: "subprocess.Popen[bytes]", server_pid: int) -> dict[str, float]:
    """A turn, with the seconds that the whole server used meanwhile."""
    assert process.stdin is not None
    before_s = tree_cpu_s(server_pid) or 0.0
    process.stdin.write(TURN)
    process.stdin.flush()
    found = read(process)
    return found | {"server_s": (tree_cpu_s(server_pid) or 0.0) - before_s}


def table(trees: Sequence[str], turns: Sequence[Sequence[Mapping[str, float]]]) -> Iterator[str]:
    """The medians of each tree, and the median ratio of each turn's sum to the first tree's."""
    names = (*PARTS, "sum", "server", "client")
    yield "us a task | " + " | ".join(names) + " | sum, ratio to the first (each turn's, least to most)"
    for number, tree in enumerate(trees):
        found = [f"{median(turn[number][name] for turn in turns):.2f}" for name in names]
        ratios = sorted(turn[number]["sum"] / turn[0]["sum"] for turn in turns)
        yield f"{tree} | " + " | ".join(found) + f" | {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


def compare(asked: argparse.Namespace) -> None:
    """Run the turns, and print the table."""
    from on_postgresql import durable_server  # noqa: PLC0415

    from everpost.store import measured_store, scratch_store  # noqa: PLC0415 - only this process needs the server

    with durable_server() as address, ExitStack() as running:
        pid = measured_store(address).server_pid()
        assert pid is not None
        sides = [
            running.enter_context(side(tree, running.enter_context(scratch_store(address)), asked))
            for tree in asked.trees
        ]
        for each in sides:
            read(each)
        turns: list[list[dict[str, float]]] = []
        for turn in range(-1, asked.turns):
            order = range(len(sides)) if turn % 2 else range(len(sides) - 1, -1, -1)
            found = {number: ask(sides[number], pid) for number in order}
            if turn >= 0:  # the first one warms up
                each_tree = [found[number] for number in range(len(sides))]
                turns.append([one | {"server": 1e6 * one["server_s"] / asked.tasks} for one in each_tree])
        sys.stdout.write("\n".join(table(asked.trees, turns)) + "\n")


def main() -> None:
    """Read the options."""
    if sys.argv[1:2] == ["--serve"]:
        address, statements, rows, tasks = sys.argv[2:]
        asyncio.run(serve(address, statements, int(rows), int(tasks)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=4_000, help="of each turn")
    parser.add_argument("--turns", type=int, default=8, help="of each tree")
    parser.add_argument("--rows", type=int, default=40, help="of each statement")
    parser.add_argument("trees", nargs="+", metavar="TREE[:FILE.sql]")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
