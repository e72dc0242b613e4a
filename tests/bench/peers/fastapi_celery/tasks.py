"""The Celery side: a task that does nothing, and a row in SQLite when it has ended."""

import json
import os
import sqlite3
from typing import Any

from celery import Celery
from celery.signals import task_postrun, worker_process_init

celery = Celery("peer", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])
celery.conf.result_extended = True  # keeps a task's arguments with its result, which a retry needs

database: sqlite3.Connection


@worker_process_init.connect
def open_database(**_: Any) -> None:
    """One connection a process; WAL, with SQLite's default of synchronous=FULL."""
    global database  # noqa: PLW0603 - how Celery's documentation keeps what a process shares
    database = sqlite3.connect(os.environ["PEER_DATABASE"], timeout=30)


@celery.task(name="publish")
def publish(task_data: dict[str, Any]) -> dict[str, Any]:
    """Publish nothing."""
    return {"success": True}


@task_postrun.connect
def record(task_id: str, args: list[Any], state: str, **_: Any) -> None:
    """Write the history's row."""
    with database:
        database.execute(
            "INSERT INTO history (job_id, status, task_data) VALUES (?, ?, ?)",
            (task_id, state.lower(), json.dumps(args[0], ensure_ascii=False)),
        )
