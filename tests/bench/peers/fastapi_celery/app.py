"""The original's stack, as in its documentation: FastAPI, and Celery with Redis as broker and result backend."""

from typing import Any

from celery.result import AsyncResult
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from tasks import publish

app = FastAPI()


class PublishTask(BaseModel):
    """What a client sends; unknown fields are kept."""

    model_config = ConfigDict(extra="allow")

    platform: str
    account_id: str
    title: str | None = None
    tags: list[str] = []


@app.get("/health/live")
async def live() -> dict[str, bool]:
    """The process lives."""
    return {"ok": True}


@app.post("/api/v1/publish", status_code=202)
async def publish_task(task: PublishTask) -> dict[str, Any]:
    """Queue a task."""
    result = publish.delay(task.model_dump())
    return {"success": True, "message": "Task accepted", "task_id": result.id, "status": "pending"}


@app.post("/api/v1/tasks/retry/{task_id}")
async def retry_task(task_id: str) -> dict[str, Any]:
    """Run a task again, from what the result backend has of it."""
    result = AsyncResult(task_id)
    if not result.args:
        raise HTTPException(404)
    again = publish.delay(*result.args)
    return {"success": True, "new_task_id": again.id, "source": "redis"}
