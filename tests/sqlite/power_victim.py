"""A program that a power cut is the end of: it accepts tasks and records outcomes, and says what is on the disk.

    python -m sqlite.power_victim DATABASE SYNCHRONOUS

It says `ready` when the database is open, then the id of each task and how far that has come, a line a task.
"""

import asyncio
import os
import sys
from pathlib import Path

from everpost.clock import system_clock
from everpost.store.sqlite.file.connection import PRAGMAS
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.task.model import Task, TaskRecord, TaskStatus, new_task_id

ROUNDS = 24
AT_ONCE = 3
DATA_BYTES = 6_000
CHECKPOINT_PAGES = 40


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def run_tasks(ledger: SqliteLedger, number: int) -> None:
    """Accept a few tasks at once, and record the end of half of them."""
    now_ms = system_clock()
    data = f'{{"filler":"{"x" * DATA_BYTES}"}}'.encode()
    tasks = [
        Task(task_id=new_task_id(now_ms), task_data=data, platform="p", account_id="a", created_at_ms=now_ms)
        for _ in range(AT_ONCE)
    ]
    await asyncio.gather(*(ledger.accept([task], now_ms) for task in tasks))
    for task in tasks:
        say(f"{task.task_id} accepted")
    ended = tasks[: number % (AT_ONCE + 1)]
    records = [TaskRecord(task_id=task.task_id, status=TaskStatus.SUCCESS, finished_at_ms=now_ms) for task in ended]
    await ledger.end(records)
    for task in ended:
        say(f"{task.task_id} recorded")


async def main(path: Path, synchronous: str) -> None:
    PRAGMAS.update(synchronous=synchronous, wal_autocheckpoint=str(CHECKPOINT_PAGES))
    database = await Database.open(path, readers=1)
    say("ready")
    for number in range(ROUNDS):
        await run_tasks(SqliteLedger(database), number)
    os._exit(0)  # closing the database would flush it


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
