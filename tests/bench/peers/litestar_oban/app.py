"""Litestar and oban, as in its documentation: an instance without queues, which inserts jobs with one commit each."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from litestar import Litestar, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody
from oban import Oban
from psycopg.types.json import set_json_dumps, set_json_loads
from tasks import Publish

set_json_dumps(orjson.dumps)  # as `oban start` does
set_json_loads(orjson.loads)


@asynccontextmanager
async def connected(_: Litestar) -> AsyncIterator[None]:
    """The pool and the instance, while the application lives."""
    pool = await Oban.create_pool(max_size=int(os.environ["OBAN_POOL_MAX_SIZE"]))
    async with Oban(pool=pool):
        yield
    await pool.close()


@get("/health/live")
async def live() -> dict[str, bool]:
    """The process lives."""
    return {"ok": True}


@post("/api/v1/publish", status_code=202)
async def publish_task(data: JSONBody[dict[str, Any]]) -> dict[str, Any]:
    """Insert a job; it is on the disk when this answers."""
    job = await Publish.enqueue(data)
    return {"success": True, "message": "Task accepted", "task_id": f"{job.id:012d}", "status": "pending"}


@post("/api/v1/tasks/retry/{task_id:str}", status_code=200)
async def retry_task(task_id: FromPath[str]) -> dict[str, Any]:
    """Run a task again, from its row."""
    job = await Oban.get_instance().get_job(int(task_id))
    if job is None:
        raise NotFoundException
    again = await Publish.enqueue(job.args)
    return {"success": True, "new_task_id": f"{again.id:012d}", "source": "postgresql"}


app = Litestar([live, publish_task, retry_task], lifespan=[connected])
