"""One task: shows, retries, cancels and deletes it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from everpost.access import Right
from everpost.actions.edit import read_patch
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import (
    MERGE_PATCH,
    Headers,
    has_body,
    headers_of,
    media_type_of,
    read_json_body,
    read_object,
)
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_patch_in_reach
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import WITH_ID, Body, documented
from everpost.api.services import ApiRequest, services_of
from everpost.errors import TaskNotFound
from everpost.task.edits import PATH
from everpost.task.model import MAX_ID, TaskStatus, is_task_id
from everpost.task.submission import decode_json
from everpost.views.shown_tasks import TaskDetail

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


class RetryBody(msgspec.Struct, frozen=True, kw_only=True):
    """How the new task differs from the original; other fields are ignored."""

    data: Annotated[
        dict[str, Any] | None,
        Meta(description="A JSON merge patch (RFC 7396) of the task's data; the result is checked as a new task is."),
    ] = None


class RetryAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The new task that replaces the original.

    Attributes:
        patched: Its data differs from the original's.
        unknown_fields: The fields of edited data that Everpost and its platform do not read.
    """

    success: bool
    message: str
    new_task_id: str
    original_task_id: str
    source: str
    warning: str | None = None
    patched: bool = False
    unknown_fields: Sequence[str] | None = None


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The task is cancelled, or its worker was asked to stop it, which may be too late."""

    success: bool
    message: str
    task_id: str
    status: TaskStatus


class DeleteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The task is in the archive, or back from there."""

    success: bool
    message: str
    task_id: str


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
    description="Everything known about one task, also an archived one: data, attempts, retries, its publisher's "
    "checkpoint, and its progress or place in the queue.",
    tags=["Tasks"],
    opt=needs(Right.READ),
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
    shown = await services_of(request).tasks.show(checked_id(task_id), wait)
    return JsonAnswer(TaskAnswer(success=True, data=shown.task, queue_position=shown.queue_position))


@post(
    "/tasks/retry/{task_id:str}",
    summary="Retry a task",
    description="Runs a task again as a new one, with the original's data and priority, from whichever store still "
    "has it: Redis, the SQLite history, the queue table, the archive. However many retries arrive at once, one new "
    "task is made, and all of them are answered with its id. With `data`, the new task's data is edited, and the "
    "original keeps its own; if an unfinished retry has other data, the answer is 409 `retry_exists` with its id. A "
    "body of the type `application/merge-patch+json` is the patch itself, as in PATCH /tasks/{task_id}.",
    tags=["Tasks"],
    opt=needs(Right.SUBMIT),
    **documented(
        RetryAnswer,
        description="The task will run again.",
        refusals=(
            *WITH_ID,
            "task_running",
            "task_held",
            "task_unreadable",
            "task_succeeded",
            "retry_exists",
            "outcome_unknown",
            "duplicate_post",
            "unknown_platform",
            "unknown_file",
            "unknown_account",
            "account_blocked",
            "queue_unreachable",
            "disk_full",
        ),
        body=Body(
            "Nothing, or the changes of the data.",
            {JSON: RetryBody, MERGE_PATCH: dict[str, Any]},
            {"Another title": {"data": {"title": "新标题", "cover": None}}},
            {"Another title": {"title": "新标题", "cover": None}},
            required=False,
        ),
    ),
)
@audited
async def retry_task(
    request: ApiRequest, task_id: TaskId, force: Force = False, by: By = None, why: Why = None
) -> JsonAnswer:
    """Retry one task."""
    services = services_of(request)
    headers = headers_of(request)
    patch, path = await _read_patch(request, headers, services.settings.max_body) if has_body(headers) else (None, PATH)
    if patch:
        patch = services.hiding.unshown(patch, path)
        need_patch_in_reach(caller_of(request), patch, path)
        await need_files_in_reach(services, caller_of(request), patch, path)
    note = note_of(request)
    note.about(checked_id(task_id), by=by, why=why, force=force, edited=sorted(patch or ()))
    retried = await services.retries.retry_task(task_id, force=force, grounds=note.grounds(by), patch=patch, path=path)
    return JsonAnswer(RetryAnswer(success=True, **msgspec.structs.asdict(retried)))


async def _read_patch(request: ApiRequest, headers: Headers, limit_bytes: int) -> tuple[Mapping[str, Any] | None, str]:
    """The patch in the body of a retry, if it has one, and the patch's JSON path."""
    if media_type_of(headers) == MERGE_PATCH:
        return read_patch(decode_json(await read_json_body(request, headers, limit_bytes))), "$"
    return (await read_object(request, RetryBody, limit_bytes)).data, PATH


@post(
    "/tasks/cancel/{task_id:str}",
    summary="Cancel a task",
    description="Takes a waiting task out of the queue permanently. A running one is stopped only with `force`, by its "
    "worker and if it is not too late: then the answer is 202, and the task's own status tells how it ended.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(
        CancelAnswer,
        description="The task is cancelled.",
        refusals=(*WITH_ID, "task_running", "task_held", "task_ended", "queue_unreachable"),
        also={202: "The worker was asked to stop the task."},
    ),
)
@audited
async def cancel_task(request: ApiRequest, task_id: TaskId, force: ForceRunning = False) -> JsonAnswer:
    """Cancel one task."""
    note = note_of(request)
    note.about(checked_id(task_id), force=force)
    if await services_of(request).cancellations.cancel_task(task_id, force=force, grounds=note.grounds(None)):
        message, status, code = "Task cancelled", TaskStatus.CANCELLED, 200
    else:
        message, status, code = "The worker was asked to stop the task", TaskStatus.RUNNING, 202
        note.is_needed = True  # there is no transaction that could have kept it
    return JsonAnswer(CancelAnswer(success=True, message=message, task_id=task_id, status=status), code)


@delete(
    "/tasks/{task_id:str}",
    summary="Delete a task",
    description="Moves an ended task to the archive. It is no longer listed; it can still be shown and retried.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(DeleteAnswer, description="The task is in the archive.", refusals=(*WITH_ID, "conflict")),
)
@audited
async def delete_task(request: ApiRequest, task_id: TaskId) -> JsonAnswer:
    """Archive one task."""
    note = note_of(request)
    note.about(checked_id(task_id))
    was_removed = await services_of(request).removals.remove_task(task_id, note.grounds(None))
    message = "Task deleted" if was_removed else "Task was deleted before"
    return JsonAnswer(DeleteAnswer(success=True, message=message, task_id=task_id))


@post(
    "/tasks/{task_id:str}/bring-back",
    summary="Bring a removed task back",
    description="Moves a removed task back from the archive into the history, unchanged. Tasks that were "
    "archived because of their age stay there; they can be shown and retried.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(DeleteAnswer, description="The task is in the history.", refusals=(*WITH_ID, "conflict")),
)
@audited
async def bring_task_back(request: ApiRequest, task_id: TaskId) -> JsonAnswer:
    """Bring one task back."""
    note = note_of(request)
    note.about(checked_id(task_id))
    await services_of(request).removals.bring_back(task_id, note.grounds(None))
    return JsonAnswer(DeleteAnswer(success=True, message="Task brought back", task_id=task_id))
