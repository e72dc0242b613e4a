"""One task: showing it, waiting for its end, retrying and cancelling it."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from everpost.api.http.json_answer import JsonAnswer
from everpost.api.openapi.describe import WITH_ID, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.api.task_views import TaskDetail, detail_view
from everpost.errors import QueueUnreachable, TaskNotFound
from everpost.store import history
from everpost.task.model import DEFAULT_PRIORITY, MAX_ID, UNFINISHED, WAITING, TaskStatus, is_task_id
from everpost.task.place import Place
from everpost.task.resolution_rules import Grounds

MAX_WAIT_S = 60

TaskId = Annotated[str, PathParameter(description="The task's id, from the answer of POST /publish.")]
Force = Annotated[bool, QueryParameter(description="Retry even if the task was, or may have been, published.")]
ForceRunning = Annotated[bool, QueryParameter(description="Stop it even if a worker runs it.")]


By = Annotated[str | None, QueryParameter(description="The person who forces it; kept for ever.", max_length=2_000)]
Why = Annotated[str | None, QueryParameter(description="The reason to force it; kept for ever.", max_length=2_000)]


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A task and, while it waits, the number of tasks of its priority that are due before it."""

    success: bool
    data: TaskDetail
    queue_position: int | None = None


class RetryAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The new task that replaces the original."""

    success: bool
    message: str
    new_task_id: str
    original_task_id: str
    source: str
    warning: str | None = None


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The task is cancelled, or its worker was asked to stop it, which may be too late."""

    success: bool
    message: str
    task_id: str
    status: TaskStatus


def checked_id(task_id: str) -> str:
    """The id in a path.

    Raises:
        TaskNotFound: No task can have this id.
    """
    if is_task_id(task_id):
        return task_id
    raise TaskNotFound(task_id[:MAX_ID])


@get(
    ["/tasks/{task_id:str}", "/tasks/status/{task_id:str}"],
    summary="Show a task",
    description="Everything known about one task, also an archived one: data, attempts, retries, place in the queue.",
    tags=["Tasks"],
    **documented(TaskAnswer, description="The task.", refusals=WITH_ID),
)
async def show_task(
    request: ApiRequest,
    task_id: TaskId,
    wait: Annotated[
        float, QueryParameter(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the task's end before answering.")
    ] = 0,
) -> JsonAnswer:
    """Answer with a task, at once or after it has ended."""
    services = services_of(request)
    task = await find_task(services, checked_id(task_id))
    if wait and task.place is Place.LEDGER and not task.inherited:
        await services.waiter.wait_for_end(task.task_id, wait)
        task = await find_task(services, task.task_id)
    if task.place is not Place.LEDGER:
        return JsonAnswer(TaskAnswer(success=True, data=detail_view(task)))
    return JsonAnswer(await with_queue(services, task))


async def find_task(services: Services, task_id: str) -> history.TaskDetail:
    """The task as the store has it.

    Raises:
        TaskNotFound: The store does not have it.
    """
    task = await services.store.history.find_task(task_id)
    if task is None:
        raise TaskNotFound(task_id)
    return task


async def with_queue(services: Services, task: history.TaskDetail) -> TaskAnswer:
    """The task with what only Redis knows, if Redis answers: whether a worker holds it, or its place in the queue."""
    position, is_running = None, False
    try:
        if task.status in UNFINISHED:
            is_running = bool(await services.queue.jobs.running_among([task.task_id]))
        if task.status in WAITING and not is_running:
            position = await services.queue.jobs.queue_position(
                task.task_id, DEFAULT_PRIORITY if task.priority is None else task.priority
            )
    except QueueUnreachable:
        pass
    return TaskAnswer(success=True, data=detail_view(task, is_running=is_running), queue_position=position)


@post(
    "/tasks/retry/{task_id:str}",
    summary="Retry a task",
    description="Runs a task again as a new one, with the original's data and priority, from whichever store still "
    "has it: Redis, the SQLite history, the queue table, the archive. However many retries arrive at once, one new "
    "task is made, and all of them are answered with its id.",
    tags=["Tasks"],
    **documented(
        RetryAnswer,
        description="The task will run again.",
        refusals=(
            *WITH_ID,
            "task_running",
            "task_held",
            "task_unreadable",
            "task_succeeded",
            "outcome_unknown",
            "unknown_platform",
            "queue_unreachable",
            "disk_full",
        ),
    ),
)
async def retry_task(
    request: ApiRequest, task_id: TaskId, force: Force = False, by: By = None, why: Why = None
) -> JsonAnswer:
    """Retry one task."""
    retried = await services_of(request).retries.retry_task(checked_id(task_id), force=force, grounds=Grounds(by, why))
    return JsonAnswer(
        RetryAnswer(
            success=True,
            message=retried.message,
            new_task_id=retried.new_task_id,
            original_task_id=retried.original_task_id,
            source=retried.source,
            warning=retried.warning,
        )
    )


@post(
    "/tasks/cancel/{task_id:str}",
    summary="Cancel a task",
    description="Takes a waiting task out of the queue permanently. A running one is stopped only with `force`, by its "
    "worker and if it is not too late: then the answer is 202, and the task's own status tells how it ended.",
    tags=["Tasks"],
    **documented(
        CancelAnswer,
        description="The task is cancelled.",
        refusals=(*WITH_ID, "task_running", "task_held", "task_ended", "queue_unreachable"),
        also={202: "The worker was asked to stop the task."},
    ),
)
async def cancel_task(request: ApiRequest, task_id: TaskId, force: ForceRunning = False) -> JsonAnswer:
    """Cancel one task."""
    done = await services_of(request).cancellations.cancel_task(checked_id(task_id), force=force)
    if done.cancelled:
        answer = CancelAnswer(success=True, message="Task cancelled", task_id=done.task_id, status=TaskStatus.CANCELLED)
        return JsonAnswer(answer)
    message = "The worker was asked to stop the task"
    return JsonAnswer(CancelAnswer(success=True, message=message, task_id=done.task_id, status=TaskStatus.RUNNING), 202)
