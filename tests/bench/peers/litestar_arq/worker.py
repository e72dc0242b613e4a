"""Stock arq's worker: a job that does nothing, and a row in SQLite at its end."""

import asyncio
import os
from typing import Any

import aiosqlite
import msgspec
import uvloop
from arq import run_worker
from arq.connections import RedisSettings

INSERT = "INSERT INTO history (job_id, status, task_data) VALUES (?, ?, ?)"


async def open_database(ctx: dict[str, Any]) -> None:
    """One connection a worker; WAL, with SQLite's default of synchronous=FULL."""
    ctx["database"] = await aiosqlite.connect(os.environ["PEER_DATABASE"], timeout=30)


async def close_database(ctx: dict[str, Any]) -> None:
    """Let go of it."""
    await ctx["database"].close()


async def publish(ctx: dict[str, Any], task_data: dict[str, Any]) -> dict[str, Any]:
    """Publish nothing, and write the history's row."""
    database = ctx["database"]
    await database.execute(INSERT, (ctx["job_id"], "success", msgspec.json.encode(task_data).decode()))
    await database.commit()
    return {"success": True}


class WorkerSettings:
    """What arq's command line reads."""

    functions = (publish,)
    on_startup = open_database
    on_shutdown = close_database
    redis_settings = RedisSettings.from_dsn(os.environ["PEER_REDIS"])
    job_serializer = msgspec.msgpack.encode
    job_deserializer = msgspec.msgpack.decode
    max_jobs = int(os.environ.get("PEER_SLOTS", "10"))  # 10 is arq's default
    poll_delay = float(os.environ.get("PEER_POLL_S", "0.5"))  # and this too


if __name__ == "__main__":
    asyncio.set_event_loop(uvloop.new_event_loop())
    run_worker(WorkerSettings)
