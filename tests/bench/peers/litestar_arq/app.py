"""Litestar and stock arq, as in their documentation: a pool in the application's state, jobs sent by name."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from arq.jobs import Job
from litestar import Litestar, get, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody


@asynccontextmanager
async def connected(app: Litestar) -> AsyncIterator[None]:
    """The pool of arq, while the application lives."""
    app.state.arq = await create_pool(
        RedisSettings.from_dsn(os.environ["PEER_REDIS"]),
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    yield
    await app.state.arq.aclose()


@get("/health/live")
async def live() -> dict[str, bool]:
    """The process lives."""
    return {"ok": True}


@post("/api/v1/publish", status_code=202)
async def publish_task(data: JSONBody[dict[str, Any]], state: State) -> dict[str, Any]:
    """Queue a task."""
    task_id = uuid4().hex
    arq: ArqRedis = state.arq
    await arq.enqueue_job("publish", data, _job_id=task_id)
    return {"success": True, "message": "Task accepted", "task_id": task_id, "status": "pending"}


@post("/api/v1/tasks/retry/{task_id:str}", status_code=200)
async def retry_task(task_id: FromPath[str], state: State) -> dict[str, Any]:
    """Run a task again, from its result in Redis."""
    info = await Job(task_id, state.arq, _deserializer=msgspec.msgpack.decode).result_info()
    if info is None:
        raise NotFoundException
    again = uuid4().hex
    await state.arq.enqueue_job("publish", *info.args, _job_id=again)
    return {"success": True, "new_task_id": again, "source": "redis"}


app = Litestar([live, publish_task, retry_task], lifespan=[connected])
