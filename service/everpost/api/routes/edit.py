"""Edits waiting tasks, one or many, and has them published now."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import patch, post
from litestar.params import QueryParameter
from msgspec import Meta

from everpost.access import Right
from everpost.actions.bulk import BulkKind
from everpost.actions.edit import PUBLISH_NOW, read_patch
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import MERGE_PATCH, headers_of, read_json_body
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_patch_in_reach
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import WITH_ID, Body, documented
from everpost.api.routes.many_tasks import DOCUMENTED, EXAMPLES, LOCATION, BulkBody, run_bulk
from everpost.api.routes.one_task import TaskId, checked_id
from everpost.api.services import ApiRequest, Services, services_of
from everpost.clock import to_text_or_none
from everpost.task.edit_rules import Edited
from everpost.task.model import TaskStatus
from everpost.task.resolution_rules import Grounds
from everpost.task.submission import decode_json, encode_json
from everpost.views.bulk_answers import BulkReply

EditedBy = Annotated[
    str | None, QueryParameter(description="The person who edits; kept with the task.", max_length=2_000)
]
EditedWhy = Annotated[str | None, QueryParameter(description="The reason; kept with the task.", max_length=2_000)]

REFUSALS = (
    *WITH_ID,
    "task_running",
    "task_held",
    "task_ended",
    "task_unreadable",
    "task_changing",
    "attempt_open",
    "conflict",
    "duplicate_post",
    "unknown_platform",
    "skipped_time",
    "queue_unreachable",
)
SAMPLES = {
    "Another title, tomorrow, and sooner than others": {
        "title": "测试视频二",
        "schedule_time": "2026-12-24T18:00:00+08:00",
        "priority": 1,
    },
    "Without tags, and at once": {"tags": None, "schedule_time": None},
}


class TaskPatch(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON merge patch (RFC 7396) of the task's data, as it was posted: any members of it; null removes one."""

    schedule_time: Annotated[str | None, Meta(description="null makes it due at once")] = None
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None


class EditAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task waits with its new version; `edited` says whether anything changed, or would change in a dry run.

    Attributes:
        due_at: When it is due, if its time was edited; without it, it is due at once.
        warning: Which of two times was taken, if clocks are put back at its `schedule_time`.
        unknown_fields: Fields of the new version that neither Everpost nor its platform reads.
        dry_run: Nothing was written.
    """

    success: bool
    message: str
    task_id: str
    edited: bool
    status: TaskStatus | None = None
    due_at: str | None = None
    warning: str | None = None
    unknown_fields: Sequence[str] | None = None
    dry_run: bool = False


class EditBody(BulkBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks to edit, as for other bulk work, and what changes in each."""

    data: Annotated[dict[str, Any], Meta(description="A JSON merge patch of each task's data.", min_length=1)]
    by: Annotated[str, Meta(max_length=2_000, description="The person who edits.")] | None = None
    why: Annotated[str, Meta(max_length=2_000, description="The reason.")] | None = None


@patch(
    "/tasks/{task_id:str}",
    summary="Edit a waiting task",
    description="Changes the data of a waiting task, also its `schedule_time` and `priority`, by a JSON merge patch of "
    "the data it was posted with (RFC 7396). The task keeps its id. What changed is kept, and shown as `edits`. A task "
    "that a worker holds, or that may have been sent, is not edited. The body is the patch, also as "
    "`application/json`: a member `data` would be set in the task.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(
        EditAnswer,
        description="The task waits with its new version.",
        refusals=REFUSALS,
        body=Body("The patch.", {JSON: TaskPatch, MERGE_PATCH: TaskPatch}, SAMPLES, SAMPLES),
    ),
)
@audited
async def edit_task(
    request: ApiRequest,
    task_id: TaskId,
    by: EditedBy = None,
    why: EditedWhy = None,
    dry_run: Annotated[bool, QueryParameter(description="Only check the edit; nothing is written.")] = False,
) -> JsonAnswer:
    """Edit one task."""
    services = services_of(request)
    body = await read_json_body(request, headers_of(request), services.settings.max_body)
    data = services.hiding.unshown(read_patch(decode_json(body)))
    encode_json(data)
    need_patch_in_reach(caller_of(request), data)
    await need_files_in_reach(services, caller_of(request), data)
    note = note_of(request)
    note.about(checked_id(task_id), by=by, why=why, members=sorted(data))
    grounds = note.grounds(by)
    if dry_run:
        return await _foresee(services, task_id, data)
    return await _edit(services, task_id, data, grounds)


@post(
    "/tasks/{task_id:str}/publish-now",
    summary="Publish a waiting task now",
    description="Removes the `schedule_time` of a task that waits, so that it is due at once, also if it waits for its "
    "next automatic attempt.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(EditAnswer, description="The task is due.", refusals=REFUSALS),
)
@audited
async def publish_now(request: ApiRequest, task_id: TaskId, by: EditedBy = None, why: EditedWhy = None) -> JsonAnswer:
    """Make one task due."""
    note = note_of(request)
    note.about(checked_id(task_id), by=by, why=why)
    return await _edit(services_of(request), task_id, dict(PUBLISH_NOW), note.grounds(by))


async def _edit(services: Services, task_id: str, data: dict[str, Any], grounds: Grounds) -> JsonAnswer:
    edited = await services.edits.edit_task(task_id, data, grounds)
    if edited is None:
        return JsonAnswer(EditAnswer(success=True, message="Nothing changed", task_id=task_id, edited=False))
    return JsonAnswer(_answer_to(edited, "Task edited", services))


async def _foresee(services: Services, task_id: str, data: dict[str, Any]) -> JsonAnswer:
    version = await services.edits.foresee_edit(task_id, data)
    answer = _answer_to(version, "The edit is valid; nothing was changed", services)
    return JsonAnswer(msgspec.structs.replace(answer, edited=not version.is_same, dry_run=True))


def _answer_to(edited: Edited, message: str, services: Services) -> EditAnswer:
    return EditAnswer(
        success=True,
        message=message,
        task_id=edited.task_id,
        edited=True,
        status=edited.status_at(services.clock()) if edited.is_rescheduled else None,
        due_at=to_text_or_none(edited.due_at_ms) if edited.is_rescheduled else None,
        warning=edited.warning,
        unknown_fields=edited.unknown_fields or None,
    )


@post(
    "/tasks/batch/edit",
    summary="Edit many waiting tasks",
    description="Changes the data of waiting tasks by one JSON merge patch. Large sets run in the background.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        BulkReply,
        description="The result; with `dry_run`, what it would be.",
        refusals=("unknown_platform", "disk_full", "search_timeout"),
        body=Body(
            "Which tasks, and the patch.",
            {JSON: EditBody},
            {name: {**example, "data": {"priority": 1}} for name, example in EXAMPLES.items()},
        ),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(LOCATION,),
    ),
)
@audited
async def edit_tasks(request: ApiRequest) -> JsonAnswer:
    """Edit many tasks."""
    return await run_bulk(request, BulkKind.EDIT, EditBody)


@post(
    "/tasks/batch/publish-now",
    summary="Publish many waiting tasks now",
    description="Removes the `schedule_time` of waiting tasks, so that they are due at once.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **DOCUMENTED,
)
@audited
async def publish_tasks_now(request: ApiRequest) -> JsonAnswer:
    """Make many tasks due."""
    return await run_bulk(request, BulkKind.EDIT, BulkBody)
